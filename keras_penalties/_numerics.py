"""Sums in float32 at least, and what a mask leaves of them."""

import math

import keras
from keras import ops

from keras_penalties._keras import sizes


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
    return x if mask is None else ops.where(expand_like(mask, x), x, 0)


def at_least_one(count):
    # `ops.maximum` of float64 gives float32 on torch
    return max(count, 1.0) if isinstance(count, float) else ops.where(count < 1, 1, count)


def count_of(x, axis=0):
    """How many entries `x` has along `axis`, one at least: a plain float where that is known."""
    count = sizes.size(x, axis)
    return at_least_one(float(count) if isinstance(count, int) else ops.cast(count, x.dtype))


def sum_examples(x):
    """The sum of `x` over all axes but the first."""
    return ops.sum(x, axis=tuple(range(1, len(x.shape)))) if len(x.shape) > 1 else x


def mean_of_examples(values):
    """The mean of one value an example; 0 of none, as a replica may have in an uneven split."""
    return ops.sum(values) / count_of(values)


def row_weights(rows, mask):
    """The share of each row in a mean: equal, summing to one, and zero where `mask` drops the row."""
    if mask is None:
        return ops.ones_like(rows[:, 0]) / count_of(rows)
    weights = ops.cast(ops.reshape(mask, (-1,)), rows.dtype)
    return weights / at_least_one(ops.sum(weights))


def weighted_mean(rows, weights):
    """The mean row; without weights all rows count. The mean of equal rows is that row to the last bit:
    ones are counted, not shares."""
    if weights is None:
        return ops.sum(rows, axis=0) / count_of(rows)
    counted = ops.cast(weights > 0, rows.dtype)
    return ops.sum(rows * counted[:, None], axis=0) / at_least_one(ops.sum(counted))


def shares(rows, weights):
    """What each row counts in a mean: a column, or one share for all where there are no weights."""
    return 1.0 / count_of(rows) if weights is None else weights[:, None]


def weighted_sum(rows, weights):
    """The sum of rows, each times its weight: a column of them, or one for all."""
    return ops.sum(weights * rows, axis=0) if is_column(weights) else weights * ops.sum(rows, axis=0)


def weighted_product(a, b, weights):
    """The sum over the rows of their outer products, each times its weight: a column, or one for all."""
    if is_column(weights):
        return ops.transpose(weights * a) @ b
    return weights * (ops.transpose(a) @ b)


def is_column(weights):
    return len(getattr(weights, "shape", ())) > 0


def constant(number, like):
    """A number in the type of a tensor, whatever Keras' own type is: float16 holds no 1e30."""
    return ops.convert_to_tensor(number, dtype=like.dtype)


def nonzero(x):
    """`x`, with ones for what is not positive: a denominator."""
    return ops.where(x > 0, x, 1)


def log(x, edge=1e-7):
    """The logarithm of `x`, and below `edge` the tangent there: finite, with its gradient, everywhere."""
    above = ops.where(x < edge, constant(edge, x), x)
    # Not `(x - edge) / edge`: of an `x` of `1 - y`, XLA takes `edge` from the 1, which loses its digits.
    return ops.where(x < edge, math.log(edge) - 1.0 + x / edge, ops.log(above))


def sqrt(x):
    """The square root, with gradient 0 at 0."""
    positive = x > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, x, 1)), 0)


def scale(x, axis):
    """The largest absolute value along `axis`, kept as an axis of one, without a gradient; 1 for zeros.

    Dividing by it keeps squares within what the type can hold.
    """
    # Without rows there is no largest one. Where sizes are known, the start costs a pass that is not needed.
    least = {} if all(x.shape) else {"initial": 0.0}
    largest = ops.max(ops.abs(ops.stop_gradient(x)), axis=axis, keepdims=True, **least)
    return ops.where(largest > 1e-37, largest, 1)


def norm(x, axis):
    """The Euclidean norm along `axis`, with gradient 0 where it is 0."""
    largest = scale(x, axis)
    return ops.squeeze(largest * sqrt(ops.sum(ops.square(x / largest), axis=axis, keepdims=True)), axis)


def unit(x):
    """`x` with length 1 along the last axis; what is zero stays zero."""
    x = x * (8.0 / scale(x, -1))  # of the largest numbers, the inverse alone is flushed to zero
    return x * (1.0 / nonzero(sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True))))


def squared_distances(a, b):
    """The squared Euclidean distance of each row of `a` to each row of `b`, through products of rows.

    Take off what all rows share first: it costs digits.
    """
    of_a = ops.sum(ops.square(a), axis=1)
    of_b = of_a if a is b else ops.sum(ops.square(b), axis=1)
    return ops.relu(of_a[:, None] + of_b[None] + a @ ops.transpose(-2.0 * b))


def centered(rows, weights):
    """Rows less their mean; zeros for what has no weight."""
    return _less(rows, weighted_mean(rows, weights), weights)


def _less(rows, mean, weights):
    return keep(rows - mean, None if weights is None else weights > 0)


def standardize(rows, weights):
    """Columns less their mean, divided by their standard deviation (of the population). A column that
    is constant but for rounding becomes zeros."""
    mean = weighted_mean(rows, weights)
    columns = _less(rows, mean, weights)
    largest = scale(columns, 0)
    varies = largest > 1e-6 * (ops.abs(ops.stop_gradient(mean)) + largest)
    columns = columns * ops.where(varies, 8.0 / largest, 0)  # as in `unit`
    return columns * (1.0 / nonzero(sqrt(weighted_sum(ops.square(columns), shares(rows, weights)))))
