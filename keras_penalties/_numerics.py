"""Sums in float32 at least, with masks, and functions with finite gradients.

Sums over the rows of a table are those of all replicas: see `replicas.own_rows`.
"""

import math
from typing import Any

import keras
from keras import ops

from keras_penalties._keras import replicas, sizes

# The distance from 1 to the next larger number.
EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}


def is_float(dtype) -> bool:
    return "float" in keras.backend.standardize_dtype(dtype)


def accumulate(x):
    """`x` in a dtype in which sums are safe: float64 stays, every other float becomes float32."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    return x if dtype in ("float32", "float64") else ops.cast(x, "float32")


def as_loss(value):
    """`value` in the dtype of Keras' losses, to which Keras cannot add other dtypes, such as that of a
    float64 layer in a float32 model. With float16 it stays float32."""
    dtype = keras.config.floatx()
    return ops.cast(value, dtype) if dtype in ("float32", "float64") else value


def booleans(mask) -> Any:
    """`mask` as booleans: whatever is not zero counts. So the token ids of padded texts are a mask."""
    is_boolean = mask is None or keras.backend.standardize_dtype(mask.dtype) == "bool"
    return mask if is_boolean else ops.cast(mask, "bool")


def expand_like(mask, x):
    """`mask` with axes of size one appended, so that it broadcasts against `x`."""
    return ops.reshape(mask, tuple(ops.shape(mask)) + (1,) * (len(x.shape) - len(mask.shape)))


def positions(mask, x):
    """`mask` with a boolean for each position of `x`: its shape without the features."""
    ones = ops.ones_like(x[..., 0], dtype="bool")
    return ops.logical_and(expand_like(mask, ones), ones)


def keep(x, mask):
    """`x` with zeros where `mask` drops it; not even a NaN there affects the value or the gradient."""
    return x if mask is None else ops.where(expand_like(mask, x), x, 0)


def at_least_one(count):
    # `ops.maximum` of float64 returns float32 on torch
    return max(count, 1.0) if isinstance(count, float) else ops.where(count < 1, 1, count)


def count_of(x, axis=0):
    """How many entries `x` has along `axis`, at least one: a plain float if known."""
    count = sizes.size(x, axis)
    return at_least_one(float(count) if isinstance(count, int) else ops.cast(count, x.dtype))


def sum_examples(x):
    """The sum of `x` over all axes but the first."""
    return ops.sum(x, axis=tuple(range(1, len(x.shape)))) if len(x.shape) > 1 else x


def mean_of_examples(values):
    """The mean of one value per example; 0 without examples, as on a replica in an uneven split."""
    return ops.sum(values / count_of(values))  # in this order, the sum is no larger than the largest value


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
    of_kept = ops.sum(rows * ops.cast(weights > 0, rows.dtype)[:, None], axis=0)
    return replicas.total(of_kept) / counted(rows, weights)


def counted(rows, weights):
    """How many rows count, at least one."""
    if weights is None:
        return count_of(rows)
    return at_least_one(replicas.total(ops.sum(ops.cast(weights > 0, rows.dtype))))


def shares(rows, weights):
    """The share of each row in a mean: a column, or one share for all if there are no weights."""
    return 1.0 / count_of(rows) if weights is None else weights[:, None]


def weighted_sum(rows, weights):
    """The sum of rows, each times its weight: a column of them, or one for all."""
    if is_column(weights):
        return replicas.total(ops.sum(weights * rows, axis=0))
    return weights * replicas.total(ops.sum(rows, axis=0))


def weighted_product(a, b, weights):
    """The sum over the rows of their outer products, each times its weight: a column, or one for all."""
    return weighted_products([a], [b], [weights])


def weighted_products(a, b, weights):
    """The sum of `weighted_product` over tables `a` and `b` and their weights.

    A statistic may not combine it with rows again: on several replicas its gradient would be wrong.
    """
    products = (_own_product(x, y, w) for x, y, w in zip(a, b, weights, strict=True))
    return replicas.total(sum(products), same_use=True)


def _own_product(a, b, weights):
    if is_column(weights):
        return ops.transpose(weights * a) @ b
    return weights * (ops.transpose(a) @ b)


def largest_columns(lengths, ranks):
    """The longest columns: the indices of the columns of these ranks by length, from rank 0, the longest, and
    for each column a 0 if it is among them, or a 1 if not."""
    largest = ops.take(ops.argsort(-lengths), ranks)
    among = ops.expand_dims(largest, 1) == ops.arange(lengths.shape[0], dtype=largest.dtype)
    return largest, ops.cast(ops.logical_not(ops.any(among, axis=0)), lengths.dtype)


def is_column(weights):
    return len(getattr(weights, "shape", ())) > 0


def constant(number, like):
    """A number in the dtype of a tensor, not in `floatx`: float16 cannot represent 1e30."""
    return ops.convert_to_tensor(number, dtype=like.dtype)


def absolute(x):
    """The absolute value, with gradient 0 at 0; that of `ops.abs` is 1 there on JAX."""
    size = ops.abs(x)
    return ops.where(x == 0, 0, size) if keras.backend.backend() == "jax" else size


def clip(x, low, high):
    """`x` within bounds, with gradient 0 on them; that of `ops.clip` is 1 there, or 0.5 on JAX."""
    return ops.where(x <= low, low, ops.where(x >= high, high, x))


def nonzero(x):
    """`x` with ones where it is not positive, for use as a denominator."""
    return ops.where(x > 0, x, 1)


def log(x, edge=1e-7):
    """The logarithm of `x`, continued below `edge` by its tangent, so value and gradient are always
    finite."""
    above = ops.where(x < edge, constant(edge, x), x)
    # Not `(x - edge) / edge`: if `x` is `1 - y`, XLA subtracts `edge` from the 1, which loses its digits.
    return ops.where(x < edge, math.log(edge) - 1.0 + x / edge, ops.log(above))


def inverse(x):
    """`1 / x`, and 0 where `x` is not positive."""
    return ops.where(x > 0, 1.0 / nonzero(x), 0)


def sqrt(x):
    """The square root, with gradient 0 at 0."""
    positive = x > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, x, 1)), 0)


def largest(x, axis):
    """The largest absolute value along `axis`, kept as an axis of one, without a gradient."""
    # Without rows there is no largest value. With known sizes, `initial` would cost an unnecessary pass.
    least = {} if all(x.shape) else {"initial": 0.0}
    return ops.max(ops.abs(ops.stop_gradient(x)), axis=axis, keepdims=True, **least)


def scale(size):
    """A divisor for numbers whose largest is `size`, so that the dtype can represent their squares, and the
    fourth powers that gradients of quotients need.

    It is 1 for ordinary sizes, where a division would only round, and otherwise an eighth of the largest:
    compilers may divide by multiplying with the inverse, which is flushed to zero for the largest floats.
    """
    extreme = ops.logical_or(size > 1e9, ops.logical_and(size < 1e-9, size > 1e-36))
    return ops.where(extreme, size / 8.0, 1)


def norm(x, axis):
    """The Euclidean norm along `axis`, with gradient 0 where it is 0."""
    size = scale(largest(x, axis))
    return ops.squeeze(size * sqrt(ops.sum(ops.square(x / size), axis=axis, keepdims=True)), axis)


def unit(x, axis: int | tuple = -1):
    """`x` with length 1 along `axis`, which may be several; zeros stay zeros, with gradient 0."""
    return unit_of_ordinary(x / scale(largest(x, axis)), axis)


def unit_of_ordinary(x, axis: int | tuple = -1):
    """As `unit`, for an `x` whose squares the dtype can represent."""
    # Not `1 / ops.sqrt(...)`, for which XLA takes an approximation: differences of units would lose digits.
    return x * inverse(sqrt(ops.sum(ops.square(x), axis=axis, keepdims=True)))


def distance_of_units(a, b, axis: int | tuple = -1):
    """The Euclidean distance between what has length 1 along `axis`. Where the two are equal apart from
    rounding it is 0, with gradient 0: its direction would be that of the rounding."""
    squares = ops.sum(ops.square(a - b), axis=axis)
    apart = squares > (4.0 * EPSILON[keras.backend.standardize_dtype(a.dtype)]) ** 2
    return sqrt(ops.where(apart, squares, 0))


def centered(rows, weights):
    """Rows minus their mean; zeros for rows without weight.

    The mean is subtracted twice: for rows far from zero, the first mean is rounded.
    """
    return _centered(rows, weights)[0]


def _centered(rows, weights):
    """`centered(rows, weights)`, and the mean as it is first rounded."""
    # A sum of shares is no larger than the largest row.
    first = ops.stop_gradient(replicas.total(ops.sum(rows * shares(rows, weights), axis=0)))
    rows = _less(rows, first, weights)
    return _less(rows, weighted_mean(rows, weights), weights), first


def _less(rows, mean, weights):
    return keep(rows - mean, None if weights is None else weights > 0)


def standardize(rows, weights):
    """Columns minus their mean, divided by their standard deviation (of the population). A column that
    is constant apart from rounding becomes zeros, with gradient 0."""
    columns, mean = _centered(rows, weights)
    size = replicas.largest(largest(columns, 0))
    varies = size > 1e-6 * (size + ops.abs(mean)) + 1e-36
    # Always scaled, which takes fewer operations than to ask whether it is needed.
    columns = columns / ops.where(varies, size / 8.0, math.inf)
    squares = weighted_sum(ops.square(columns), shares(rows, weights))
    return columns * (1.0 / ops.sqrt(ops.where(varies, squares, 1)))
