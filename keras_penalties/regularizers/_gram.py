"""Sums of squares of a features-by-features matrix, by the cheaper of two forms."""

from keras import ops

from keras_penalties import _numerics
from keras_penalties._keras import replicas, sizes


def squares(tables, weights, diagonal):
    r"""The sum of \(C_{ij}^2\), with or without the diagonal, of \(C = \sum x^\top W x\) over the tables.

    With few rows for its features it builds no features-by-features matrix. The number is the same,
    whatever the sizes of the features are.

    Args:
        tables: the tables \(x\) of `(rows, features)`, each column less its mean.
        weights: for each table the weights \(W\) of its rows: a column, or one for all. They may be negative.
        diagonal: whether the entries on the diagonal count.
    """
    features = tables[0].shape[-1]

    def by_features():
        product = _numerics.weighted_products(tables, tables, weights)
        return ops.sum(ops.square(product if diagonal else _off_diagonal(product)))

    def by_rows():
        # The products of rows contain the diagonal. Where few features are large they are little else, and
        # taking it off would leave no digits. So the N largest features are compared with each feature, and
        # products of rows are taken of the others. Their diagonal is small beside the sum: N features with
        # N - 1 degrees of freedom cannot all be uncorrelated, so that among the largest there are larger
        # covariances.
        weighted = list(zip(tables, weights, strict=True))
        lengths = sum(_numerics.weighted_sum(ops.square(ops.stop_gradient(x)), abs(w)) for x, w in weighted)
        # Counted, not sliced: in a graph for any batch, XLA does not know where a slice would end.
        ranks = ops.cumsum(ops.ones_like(tables[0][:, 0], dtype="int32")) - 1
        largest, rest = _numerics.largest_columns(lengths, ranks)
        product = _numerics.weighted_products([ops.take(x, largest, axis=1) for x in tables], tables, weights)
        if not diagonal:
            own = ops.expand_dims(largest, 1) == ops.arange(features, dtype=largest.dtype)
            product = ops.where(own, 0, product)
        found = ops.sum(ops.square(product) * (1.0 + rest))  # what is with the others is twice in C
        others = [(x * rest, w) for x, w in weighted]
        everything = sum(
            (1.0 if a is b else 2.0) * _gram(a, v, b, w)
            for i, (a, v) in enumerate(others)
            for b, w in others[i:]
        )
        if not diagonal:
            everything = everything - ops.sum(
                ops.square(sum(_numerics.weighted_sum(ops.square(x), w) for x, w in others))
            )
        return found + ops.relu(everything)

    return cheaper(sum(sizes.size(x) for x in tables), features, by_rows, by_features)


def cross_correlations(a, b, weights):
    r"""The diagonal of \(C = a^\top W b\), and the sum over \(i \ne j\) of \(C_{ij}^2\), for two tables whose
    features are all of one size, so that none can dominate the sum.

    With few rows it goes through the rows-by-rows Gram matrices, since
    \(\lVert C\rVert_F^2 = \sum_{mn} w_m w_n (a a^\top)_{mn} (b b^\top)_{mn}\).
    """

    def by_features():
        product = _numerics.weighted_product(a, b, weights)
        return ops.diagonal(product), ops.sum(ops.square(_off_diagonal(product)))

    def by_rows():
        of_a, of_b = weights * (a @ ops.transpose(a)), b @ ops.transpose(b)
        everything = ops.sum(of_a * (_as_row(weights) * of_b))
        diagonal = _numerics.weighted_sum(a * b, weights)
        return diagonal, ops.relu(everything - ops.sum(ops.square(diagonal)))

    return cheaper(sizes.size(a), a.shape[-1], by_rows, by_features)


def cheaper(rows, features, by_rows, by_features):
    """Whichever of two ways takes fewer operations; where the number of rows is not known until the step
    runs, it is decided then."""
    # Without rows there is no largest feature. Products of rows need all of them, sums over features do not.
    if replicas.has_own_rows() or (isinstance(rows, int) and rows == 0):
        return by_features()
    return sizes.either(2 * rows < features, by_rows, by_features)


def _gram(a, v, b, w):
    r"""The weighted sum of the squared products of the rows of two tables."""
    products = a @ ops.transpose(b)
    return ops.sum((v * products) * (_as_row(w) * products))


def _off_diagonal(matrix):
    """The entries of a square matrix that are not on its diagonal."""
    d = matrix.shape[-1]
    # After the first entry, which is on the diagonal, every entry after d others is.
    return ops.reshape(ops.reshape(matrix, (-1,))[1:], (d - 1, d + 1))[:, :-1]


def _as_row(weights):
    return ops.transpose(weights) if _numerics.is_column(weights) else weights
