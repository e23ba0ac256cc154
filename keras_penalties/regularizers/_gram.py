"""Products of tables over their rows, by the cheaper of two forms."""

from keras import ops

from keras_penalties import _numerics
from keras_penalties._keras import sizes


def off_diagonal_squares(a, b, weights):
    r"""The sum over \(i \ne j\) of \(C_{ij}^2\), \(C = a^\top W b\), for tables of `(rows, features)` and
    the weights of their rows: a column, or one for all.

    With fewer rows than features it goes through the rows-by-rows Gram matrices, since
    \(\lVert C\rVert_F^2 = \sum_{mn} w_m w_n (a a^\top)_{mn} (b b^\top)_{mn}\).
    """

    def by_features():
        d = a.shape[-1]
        product = ops.reshape(_numerics.weighted_product(a, b, weights), (-1,))
        # Behind the first entry, which is on the diagonal, every entry after d others is.
        return ops.sum(ops.square(ops.reshape(product[1:], (d - 1, d + 1))[:, :-1]))

    def by_rows():
        gram = weights * (a @ ops.transpose(a))
        other = gram if a is b else weights * (b @ ops.transpose(b))
        everything = ops.sum(gram * (ops.transpose(other) if _numerics.is_column(weights) else other))
        return ops.relu(everything - ops.sum(ops.square(_numerics.weighted_sum(a * b, weights))))

    return cheaper(a, by_rows, by_features)


def cheaper(table, by_rows, by_features):
    """Whichever of two ways has the smaller matrix; where the number of rows is not known until the
    step runs, it is decided then."""
    return sizes.either(sizes.size(table) < table.shape[-1], by_rows, by_features)
