"""Sums of squares of a features-by-features matrix, by the cheaper of two forms."""

from keras import ops

from keras_penalties import _numerics
from keras_penalties._keras import replicas, sizes


def squares(tables, weights, diagonal):
    r"""The sum of \(C_{ij}^2\), with or without the diagonal, of \(C = \sum x^\top W x\) over the tables.

    With few rows and many features, no features-by-features matrix is computed. The result is the same,
    however much the features differ in size.

    Args:
        tables: the tables \(x\) of `(rows, features)`, each column minus its mean.
        weights: for each table the weights \(W\) of its rows: a column, or one for all. They may be negative.
        diagonal: whether the entries on the diagonal count.
    """
    features = tables[0].shape[-1]

    def by_features():
        product = _numerics.weighted_products(tables, tables, weights)
        return ops.sum(ops.square(product if diagonal else _off_diagonal(product)))

    def by_rows():
        # The products of rows include the diagonal. If a few features are large, the diagonal is nearly all
        # of the sum, and subtracting it would leave no digits. So the N largest features are multiplied with
        # each feature, and only the others go into products of rows. The diagonal of the others is small
        # compared to the sum: N features with N - 1 degrees of freedom cannot all be uncorrelated, so the
        # largest have larger covariances.
        weighted = list(zip(tables, weights, strict=True))
        lengths = sum(_numerics.weighted_sum(ops.square(ops.stop_gradient(x)), abs(w)) for x, w in weighted)
        # Counted, not sliced: in a graph for any batch size, XLA does not know where a slice ends.
        ranks = ops.cumsum(ops.ones_like(tables[0][:, 0], dtype="int32")) - 1
        largest, rest = _numerics.largest_columns(lengths, ranks)
        product = _numerics.weighted_products([ops.take(x, largest, axis=1) for x in tables], tables, weights)
        if not diagonal:
            own = ops.expand_dims(largest, 1) == ops.arange(features, dtype=largest.dtype)
            product = ops.where(own, 0, product)
        found = ops.sum(ops.square(product) * (1.0 + rest))  # C contains products with the others twice
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

    With few rows, it is computed from the rows-by-rows Gram matrices, since
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
    """The result of the way that takes fewer operations. If the number of rows is known only when the step
    runs, the choice is made then."""
    # Without rows there is no largest feature. Products of rows need the rows of all replicas.
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
    # In a flat matrix, the first entry is on the diagonal, and after it each entry that follows d others.
    return ops.reshape(ops.reshape(matrix, (-1,))[1:], (d - 1, d + 1))[:, :-1]


def _as_row(weights):
    return ops.transpose(weights) if _numerics.is_column(weights) else weights
