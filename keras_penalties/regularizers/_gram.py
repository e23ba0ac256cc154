"""Products of tables over their rows, by the cheaper of two forms."""

from keras import ops


def off_diagonal_squares(a, b, weights):
    r"""The sum over \(i \ne j\) of \(C_{ij}^2\), \(C = a^\top W b\), for tables of `(rows, features)` and
    weights of their rows.

    With fewer rows than features it goes through the rows-by-rows Gram matrices, since
    \(\lVert C\rVert_F^2 = \sum_{mn} w_m w_n (a a^\top)_{mn} (b b^\top)_{mn}\).
    """
    weighted = weights[:, None] * a

    def by_features():
        product = ops.transpose(weighted) @ b
        return ops.sum(ops.square(product * (1.0 - ops.eye(a.shape[-1], dtype=a.dtype))))

    def by_rows():
        pairs = weights[:, None] * weights[None]
        gram = a @ ops.transpose(a)
        everything = ops.sum(pairs * gram * (gram if a is b else b @ ops.transpose(b)))
        return ops.relu(everything - ops.sum(ops.square(ops.sum(weighted * b, axis=0))))

    return cheaper(a, by_rows, by_features)


def cheaper(table, by_rows, by_features):
    """Whichever of two ways has the smaller matrix; where the number of rows is not known until the
    step runs, it is decided then."""
    n, d = ops.shape(table)
    if not isinstance(n, int):
        return ops.cond(n < d, by_rows, by_features)
    return by_rows() if n < d else by_features()
