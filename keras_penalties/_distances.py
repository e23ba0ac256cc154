"""The Euclidean distance of each row of a table to each row of another."""

import keras
from keras import ops

from keras_penalties import _numerics

# How much rounding may change the squared distance of two rows, as a share of their squared norms: about
# three times what was measured for up to 4,096 features.
ROUNDING = {"float32": 2.0**-18, "float64": 2.0**-47}


def distances(a, b, kept_a=None, kept_b=None):
    """The distance of each row of `a` to each row of `b`, through products of rows.

    Args:
        a, b: `(rows, features)`, in float32 or float64.
        kept_a, kept_b: which rows count, as booleans, or None for all. The others only have to be finite.
    """
    squares, _, size = _squares(a, b, kept_a, kept_b)
    return size * _numerics.sqrt(squares)


def distances_and_reach(a, b, kept_a=None, kept_b=None):
    """The distances, and for each the largest distance that may be equal to it apart from rounding."""
    squares, norms, size = _squares(a, b, kept_a, kept_b)
    reach = squares + ROUNDING[keras.backend.standardize_dtype(a.dtype)] * norms
    return size * _numerics.sqrt(squares), size * ops.sqrt(ops.stop_gradient(reach))


def _squares(a, b, kept_a, kept_b):
    """The squared distances, the sums of the squared norms they are computed from, and the unit of both."""
    # Moving all rows does not change distances, and small numbers keep more digits.
    middle = ops.stop_gradient(ops.sum(b * _numerics.row_weights(b, kept_b)[:, None], axis=0))
    tables = [(b, kept_b)] if a is b else [(b, kept_b), (a, kept_a)]
    tables = [_numerics.keep(rows - middle, kept) for rows, kept in tables]
    size = _numerics.scale(ops.max(ops.stack([_numerics.largest(rows, (0, 1)) for rows in tables])))
    tables = [rows / size for rows in tables]
    squares = [ops.sum(ops.square(rows), axis=1) for rows in tables]
    norms = squares[-1][:, None] + squares[0][None]
    return ops.relu(norms + tables[-1] @ ops.transpose(-2.0 * tables[0])), norms, size
