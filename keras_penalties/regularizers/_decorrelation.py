"""How much the features say the same thing."""

from keras import ops

from keras_penalties import _numerics
from keras_penalties._serialization import register
from keras_penalties.regularizers._families import BatchStatisticPenalty


@register
class DeCov(BatchStatisticPenalty):
    r"""Half the sum of the squared covariances between different features.

    $$\frac{1}{2}\left(\lVert C\rVert_F^2 - \lVert \operatorname{diag} C\rVert_2^2\right),\qquad
    C_{ij} = \frac{1}{N}\sum_n (x_{ni} - \mu_i)(x_{nj} - \mu_j)$$

    It is zero when no two features vary together in the batch. With fewer rows than features the
    rows' Gram matrix gives the same number without the features-by-features covariance.

    Args:
        strength: how hard the penalty presses, a finite float >= 0; the paper uses 0.1.
        axis: the axis of the features. Defaults to the last; positions are taken as rows.

    Shapes: `x` is `(batch, ..., features)`, any float type; the result is a float32 scalar in the
    fourth power of the units of `x`. One row, or constant features, give 0.

    Example:

    >>> import keras_penalties as kp
    >>> float(kp.regularizers.DeCov(0.1).measure([[1.0, 2.0], [3.0, 6.0]]))  # C = [[1, 2], [2, 4]]
    4.0

    Raises:
        TypeError: if `strength` is not a number, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, or `axis` is the batch.

    Source: Cogswell, Ahmed, Girshick, Zitnick and Batra, "Reducing Overfitting in Deep Networks by
    Decorrelating Representations", ICLR 2016. As there, `C` is divided by `N`, not by `N - 1`.
    """

    def statistic(self, rows, weights):
        centered = rows - _numerics.weighted_mean(rows, weights)
        weights = weights[:, None]
        n, d = ops.shape(rows)
        if not isinstance(n, int):
            return ops.cond(
                n < d, lambda: _by_gram(centered, weights), lambda: _by_covariance(centered, weights)
            )
        return _by_gram(centered, weights) if n < d else _by_covariance(centered, weights)


def _by_covariance(centered, weights):
    covariance = ops.transpose(weights * centered) @ centered
    off_diagonal = covariance * (1.0 - ops.eye(centered.shape[-1], dtype=centered.dtype))
    return 0.5 * ops.sum(ops.square(off_diagonal))


def _by_gram(centered, weights):
    # The squared entries of C and of the rows' Gram matrix have the same sum.
    gram = (weights * centered) @ ops.transpose(centered)
    variances = ops.sum(weights * ops.square(centered), axis=0)
    return ops.relu(0.5 * (ops.sum(gram * ops.transpose(gram)) - ops.sum(ops.square(variances))))
