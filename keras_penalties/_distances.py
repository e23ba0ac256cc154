"""The Euclidean distance of each row of a table to each row of another."""

from keras import ops

from keras_penalties import _numerics


def distances(a, b, kept_a=None, kept_b=None):
    """The distance of each row of `a` to each row of `b`, through products of rows.

    Distances do not change when all rows are moved, and small numbers keep more digits: so a row in the
    middle of `b` is taken off first. Differences of whole numbers are whole numbers, and so is what products
    make of them: distances that are equal come out equal.

    Args:
        a, b: `(rows, features)`.
        kept_a, kept_b: which rows count, in booleans, or None for all. The others only have to be finite.
    """
    middle = ops.stop_gradient(_middle(b, kept_b))
    tables = [(b, kept_b)] if a is b else [(b, kept_b), (a, kept_a)]
    tables = [_numerics.keep(rows - middle, kept) for rows, kept in tables]
    size = _numerics.scale(ops.max(ops.stack([_numerics.largest(rows, (0, 1)) for rows in tables])))
    tables = [rows / size for rows in tables]
    squares = [ops.sum(ops.square(rows), axis=1) for rows in tables]
    (b, a), (of_b, of_a) = (pair if len(pair) == 2 else pair * 2 for pair in (tables, squares))
    return size * _numerics.sqrt(ops.relu(of_a[:, None] + of_b[None] + a @ ops.transpose(-2.0 * b)))


def _middle(rows, kept):
    """The row that is closest to the mean row; the mean itself would round differences."""
    mean = _numerics.weighted_mean(rows, None if kept is None else ops.cast(kept, rows.dtype))
    squares, infinity = ops.sum(ops.square(rows - mean), axis=1), _numerics.constant(float("inf"), mean)
    if kept is not None:
        squares = ops.where(kept, squares, infinity)
    # The mean comes last, for a table without rows.
    index = ops.argmin(ops.concatenate([squares, infinity[None]]))
    return ops.take(ops.concatenate([rows, mean[None]]), index, axis=0)
