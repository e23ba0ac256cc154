"""Two views of the same examples: each feature should agree between them, and features should differ."""

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Shapes, Tensor, Tensors
from keras_penalties.regularizers import _gram
from keras_penalties.regularizers._decorrelation import covariance_term, unbiased, variance_term
from keras_penalties.regularizers._families import BatchStatisticPenalty, same_features
from keras_penalties.schedules._strength import Strength


class _OfTwoViews(BatchStatisticPenalty):
    tensors = 2

    def check_shapes(self, shapes: Shapes) -> None:
        super().check_shapes(shapes)
        same_features(self._owner, shapes, self._features)


@register
class BarlowTwins(_OfTwoViews):
    r"""How far the cross-correlation of two views is from the identity.

    $$\sum_i (1 - C_{ii})^2 + \lambda\sum_{i \ne j} C_{ij}^2,\qquad
    C_{ij} = \frac{1}{N}\sum_n \hat a_{ni}\,\hat b_{nj}$$

    \(\hat a\) and \(\hat b\) are the two views, with each feature minus its mean and divided by its standard
    deviation over the batch (with `N`, not `N - 1`). With fewer rows than features, no features-by-features
    matrix is computed.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        off_diagonal: the weight \(\lambda\) of the correlations between different features, a float >= 0.
            Defaults to 0.0051.
        axis: the axis of the features. Defaults to the last. Each position is a row.

    Shapes: a list of two tensors of the same shape `(batch, ..., features)`, any float type; row `n` of one
    is the other view of row `n` of the other. The result is a float32 scalar without units. A feature that is
    constant in a view has no correlations, and adds 1. So the value of a single row is the number of
    features.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> a, b = np.array([[1.0, 2.0], [3.0, 6.0]]), np.array([[5.0, 9.0], [6.0, 7.0]])
    >>> value = kp.regularizers.BarlowTwins(1.0).measure([a, b])  # C = [[1, -1], [1, -1]]
    >>> round(float(value), 6)  # 0 + 4 + 0.0051 * 2
    4.0102

    Raises:
        TypeError: if `strength` or `off_diagonal` is not a number, or `axis` not an int.
        ValueError: if `strength` or `off_diagonal` is negative or not finite, `axis` is the batch, or the
            shapes differ.

    Source: Zbontar, Jing, Misra, LeCun and Deny, [Barlow Twins: Self-Supervised Learning via Redundancy
    Reduction](https://arxiv.org/abs/2103.03230), ICML 2021. The authors' code takes the standard deviations
    from a batch normalization, which adds 1e-5 to the variances; here nothing is added.
    """

    _weights_optional = True
    _products = 1

    def __init__(self, strength: Strength, off_diagonal: float = 0.0051, axis: int = -1):
        super().__init__(strength, axis=axis)
        self.off_diagonal = _checks.number(off_diagonal, "off_diagonal", self._owner, at_least=0.0)

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        a, b = (_numerics.standardize(r, w) for r, w in zip(rows, weights, strict=True))
        shares = _numerics.shares(a, weights[0])
        if not self.off_diagonal:
            return ops.sum(ops.square(1.0 - _numerics.weighted_sum(a * b, shares)))
        alike, others = _gram.cross_correlations(a, b, shares)
        return ops.sum(ops.square(1.0 - alike)) + self.off_diagonal * others


@register
class VICReg(_OfTwoViews):
    r"""Makes two views equal, keeps each feature varying, and decorrelates different features.

    $$\lambda\, s(a, b) + \mu\,[v(a) + v(b)] + \nu\,[c(a) + c(b)],\qquad
    s(a, b) = \frac{1}{ND}\sum_n \lVert a_n - b_n\rVert_2^2$$

    \(v\) is what `Variance` measures and \(c\) what `Covariance` measures. The logs show the three terms
    separately, as `<key>_invariance`, `<key>_variance` and `<key>_covariance`.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        invariance: the weight \(\lambda\) of the difference between the views, a float >= 0.
            Defaults to 25.0.
        variance: the weight \(\mu\) of the variance terms, a float >= 0. Defaults to 25.0.
        covariance: the weight \(\nu\) of the covariance terms, a float >= 0. Defaults to 1.0.
        axis: the axis of the features. Defaults to the last. Each position is a row.

    Shapes: a list of two tensors of the same shape `(batch, ..., features)`, any float type; row `n` of one
    is the other view of row `n` of the other. The result is a float32 scalar.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> a, b = np.array([[1.0, 2.0], [3.0, 6.0]]), np.array([[1.0, 2.0], [3.0, 8.0]])
    >>> # 25 * 4/4 + 25 * 0 + (16 + 36)
    >>> float(kp.regularizers.VICReg(1.0).measure([a, b]))
    77.0

    Raises:
        TypeError: if `strength` or a weight is not a number, or `axis` not an int.
        ValueError: if `strength` or a weight is negative or not finite, `axis` is the batch, or the shapes
            differ.

    Source: Bardes, Ponce and LeCun, [VICReg: Variance-Invariance-Covariance Regularization for
    Self-Supervised Learning](https://arxiv.org/abs/2105.04906), ICLR 2022, algorithm 1, with a target of 1,
    and with 1e-4 added to the variances. Its equation 5 does not divide the first term by `D`; the algorithm,
    for which the default weights were chosen, does. The authors' later code, lightly and
    pytorch-metric-learning halve the variance term.
    """

    parts = ("invariance", "variance", "covariance")
    _weights_optional = True
    _products = 2

    def __init__(
        self,
        strength: Strength,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        axis: int = -1,
    ):
        super().__init__(strength, axis=axis)
        self.invariance = _checks.number(invariance, "invariance", self._owner, at_least=0.0)
        self.variance = _checks.number(variance, "variance", self._owner, at_least=0.0)
        self.covariance = _checks.number(covariance, "covariance", self._owner, at_least=0.0)

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        a, b = rows
        apart = ops.sum(_numerics.weighted_sum(ops.square(a - b), _numerics.shares(a, weights[0])))
        views = [_numerics.centered(r, w) for r, w in zip(rows, weights, strict=True)]
        shares = unbiased(a, weights[0])
        spread = sum(variance_term(z, shares, 1.0, 1e-4) for z in views)
        shared = sum(covariance_term(z, shares) for z in views)
        return {
            "invariance": self.invariance * apart / a.shape[-1],
            "variance": self.variance * spread,
            "covariance": self.covariance * shared,
        }
