"""Sums in float32 at least, and what a mask leaves of them."""

import math

import keras
from keras import ops


def is_float(dtype) -> bool:
    return "float" in keras.backend.standardize_dtype(dtype)


def accumulate(x):
    """`x` in the type in which sums are safe: float64 stays, every other float becomes float32."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    return x if dtype in ("float32", "float64") else ops.cast(x, "float32")


def as_loss(value):
    """`value` in the type of Keras' losses, which adds no others to it: a float64 layer in a float32
    model, say. In a float16 world it stays float32."""
    dtype = keras.config.floatx()
    return ops.cast(value, dtype) if dtype in ("float32", "float64") else value


def expand_like(mask, x):
    """`mask` with axes of size one behind it, so that it broadcasts against `x`."""
    return ops.reshape(mask, tuple(ops.shape(mask)) + (1,) * (len(x.shape) - len(mask.shape)))


def positions(mask, x):
    """`mask` with a boolean for each position of `x`: its shape without the features."""
    ones = ops.ones_like(x[..., 0], dtype="bool")
    return ops.logical_and(expand_like(mask, ones), ones)


def keep(x, mask):
    """`x` with zeros where `mask` drops it; not even a NaN there is seen, by value or by gradient."""
    return x if mask is None else ops.where(expand_like(mask, x), x, ops.zeros_like(x))


def at_least_one(count):
    # `ops.maximum` of float64 gives float32 on torch
    return ops.where(count < 1, ops.ones_like(count), count)


def sum_examples(x):
    """The sum of `x` over all axes but the first."""
    return ops.sum(x, axis=tuple(range(1, len(x.shape)))) if len(x.shape) > 1 else x


def mean_of_examples(values):
    """The mean of one value an example; 0 of none, as a replica may have in an uneven split."""
    return ops.sum(values) / at_least_one(ops.cast(ops.shape(values)[0], values.dtype))


def row_weights(rows, mask):
    """The share of each row in a mean: equal, summing to one, and zero where `mask` drops the row."""
    if mask is None:
        count = ops.cast(ops.shape(rows)[0], rows.dtype)
        return ops.ones_like(rows[:, 0]) / at_least_one(count)
    weights = ops.cast(ops.reshape(mask, (-1,)), rows.dtype)
    return weights / at_least_one(ops.sum(weights))


def weighted_mean(rows, weights):
    """The mean row. The mean of equal rows is that row to the last bit: ones are counted, not shares."""
    counted = ops.cast(weights > 0, rows.dtype)
    return ops.sum(rows * counted[:, None], axis=0) / at_least_one(ops.sum(counted))


def nonzero(x):
    """`x`, with ones for what is not positive: a denominator."""
    return ops.where(x > 0, x, ops.ones_like(x))


def log(x, edge=1e-7):
    """The logarithm of `x`, and below `edge` the tangent there: finite, with its gradient, everywhere."""
    above = ops.where(x < edge, ops.zeros_like(x) + edge, x)
    # Not `(x - edge) / edge`: of an `x` of `1 - y`, XLA takes `edge` from the 1, which loses its digits.
    return ops.where(x < edge, math.log(edge) - 1.0 + x / edge, ops.log(above))


def sqrt(x):
    """The square root, with gradient 0 at 0."""
    return ops.where(x > 0, ops.sqrt(nonzero(x)), ops.zeros_like(x))


def scale(x, axis):
    """The largest absolute value along `axis`, kept as an axis of one, without a gradient; 1 for zeros.

    Dividing by it keeps squares within what the type can hold.
    """
    largest = ops.stop_gradient(ops.max(ops.abs(x), axis=axis, keepdims=True, initial=0.0))
    return ops.where(largest > 1e-37, largest, ops.ones_like(largest))


def norm(x, axis):
    """The Euclidean norm along `axis`, with gradient 0 where it is 0."""
    largest = scale(x, axis)
    return ops.squeeze(largest * sqrt(ops.sum(ops.square(x / largest), axis=axis, keepdims=True)), axis)


def unit(x):
    """`x` with length 1 along the last axis; what is zero stays zero."""
    x = x / scale(x, -1)
    return x / nonzero(sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True)))


def squared_distances(a, b):
    """The squared Euclidean distance of each row of `a` to each row of `b`, through products of rows.

    Take off what all rows share first: it costs digits.
    """
    of_a, of_b = (ops.sum(ops.square(t), axis=1) for t in (a, b))
    return ops.relu(of_a[:, None] + of_b[None] - 2.0 * (a @ ops.transpose(b)))


def centered(rows, weights):
    """Rows less their mean; zeros for what has no weight."""
    return keep(rows - weighted_mean(rows, weights), weights > 0)


def standardize(rows, weights):
    """Columns less their mean, divided by their standard deviation (of the population). A column that
    is constant but for rounding becomes zeros."""
    size = ops.stop_gradient(ops.max(ops.abs(rows), axis=0, keepdims=True, initial=0.0))
    columns = centered(rows, weights)
    largest = scale(columns, 0)
    columns = ops.where(largest > 1e-6 * size, columns / largest, ops.zeros_like(columns))
    deviation = sqrt(ops.sum(weights[:, None] * ops.square(columns), axis=0))
    return columns / nonzero(deviation)
