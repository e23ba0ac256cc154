"""How correlated the features are, and whether they vary at all."""

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._keras import replicas
from keras_penalties._serialization import register
from keras_penalties._types import Tensor, Tensors
from keras_penalties.regularizers import _gram
from keras_penalties.regularizers._families import BatchStatisticPenalty
from keras_penalties.schedules._strength import Strength


@register
class DeCov(BatchStatisticPenalty):
    r"""Half the sum of the squared covariances between different features.

    $$\frac{1}{2}\left(\lVert C\rVert_F^2 - \lVert \operatorname{diag} C\rVert_2^2\right),\qquad
    C_{ij} = \frac{1}{N}\sum_n (x_{ni} - \mu_i)(x_{nj} - \mu_j)$$

    It is zero if no two features vary together in the batch. With fewer rows than features, the same number
    is computed from the Gram matrix of the rows, without the features-by-features covariance.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`; the paper uses
            0.1.
        axis: the axis of the features. Defaults to the last. Each position is a row.

    Shapes: `x` is `(batch, ..., features)`, any float type; the result is a float32 scalar in the fourth
    power of the units of `x`. A single row, or constant features, give 0.

    Example:

    >>> import keras_penalties as kp
    >>> # C = [[1, 2], [2, 4]]
    >>> float(kp.regularizers.DeCov(0.1).measure([[1.0, 2.0], [3.0, 6.0]]))
    4.0

    Raises:
        TypeError: if `strength` is not a number, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, or `axis` is the batch.

    Source: Cogswell, Ahmed, Girshick, Zitnick and Batra, [Reducing Overfitting in Deep Networks by
    Decorrelating Representations](https://arxiv.org/abs/1511.06068), ICLR 2016. As there, `C` is divided by
    `N`, not by `N - 1`.
    """

    _weights_optional = True
    _products = 1

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        z = _numerics.centered(rows, weights)
        return 0.5 * _gram.squares([z], [_numerics.shares(rows, weights)], diagonal=False)


@register
class Covariance(BatchStatisticPenalty):
    r"""The sum of the squared covariances between different features, divided by the number of features.

    $$\frac{1}{D}\sum_{i \ne j} C_{ij}^2,\qquad
    C_{ij} = \frac{1}{N - 1}\sum_n (x_{ni} - \mu_i)(x_{nj} - \mu_j)$$

    VICReg's third term. With fewer rows than features, the same number is computed from the Gram matrix of
    the rows, without the features-by-features covariance.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`; the paper uses 1.
        axis: the axis of the features. Defaults to the last. Each position is a row.

    Shapes: `x` is `(batch, ..., features)`, any float type; the result is a float32 scalar in the fourth
    power of the units of `x`. A single row, or constant features, give 0.

    Example:

    >>> import keras_penalties as kp
    >>> # C_12 = C_21 = 4
    >>> float(kp.regularizers.Covariance(1.0).measure([[1.0, 2.0], [3.0, 6.0]]))
    16.0

    Raises:
        TypeError: if `strength` is not a number, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, or `axis` is the batch.

    Source: Bardes, Ponce and LeCun, [VICReg: Variance-Invariance-Covariance Regularization for
    Self-Supervised Learning](https://arxiv.org/abs/2105.04906), ICLR 2022. `DeCov` is half of the same sum,
    with `N` instead of `N - 1`, and without the division by the number of features `D`.
    """

    _weights_optional = True
    _products = 1

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        return covariance_term(_numerics.centered(rows, weights), unbiased(rows, weights))


@register
class Variance(BatchStatisticPenalty):
    r"""How far the standard deviation of each feature falls short of a target.

    $$\frac{1}{D}\sum_j \max\left(0,\; \gamma - \sqrt{\operatorname{Var}(x_j) + \epsilon}\right)$$

    VICReg's second term, which keeps features from collapsing to a constant. The variance is divided by
    `N - 1`.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`; the paper uses 25.
        target: the standard deviation \(\gamma\) at which a feature is no longer penalized, a float > 0.
            Defaults to 1.0.
        eps: added to the variance, a float > 0. It bounds the gradient of a constant feature.
            Defaults to 0.0001.
        axis: the axis of the features. Defaults to the last. Each position is a row.

    Shapes: `x` is `(batch, ..., features)`, any float type; the result is a float32 scalar in the units of
    `x`. A constant feature, or any feature of a single row, has the variance 0: its term is
    `target - sqrt(eps)`.

    Example:

    >>> import keras_penalties as kp
    >>> value = kp.regularizers.Variance(25.0, eps=1e-6).measure([[1.0, 0.5], [3.0, 0.5]])
    >>> round(float(value), 6)  # deviations 1.414 and 0: (0 + 1 - 0.001) / 2
    0.4995

    Raises:
        TypeError: if `strength`, `target` or `eps` is not a number, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, `target` or `eps` is not positive, or `axis`
            is the batch.

    Source: Bardes, Ponce and LeCun, [VICReg: Variance-Invariance-Covariance Regularization for
    Self-Supervised Learning](https://arxiv.org/abs/2105.04906), ICLR 2022, equations 1 and 2.
    """

    _weights_optional = True
    _products = 0

    def __init__(self, strength: Strength, target: float = 1.0, eps: float = 1e-4, axis: int = -1):
        super().__init__(strength, axis=axis)
        self.target = _checks.number(target, "target", self._owner, above=0.0)
        self.eps = _checks.number(eps, "eps", self._owner, above=0.0)

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        z = _numerics.centered(rows, weights)
        return variance_term(z, unbiased(rows, weights), self.target, self.eps)


def unbiased(rows, weights):
    """The shares of rows in a variance that is divided by `N - 1`."""
    if weights is None:
        return 1.0 / _numerics.at_least_one(_numerics.count_of(rows) - 1.0)
    count = replicas.total(ops.cast(ops.sum(ops.cast(weights > 0, "int32")), weights.dtype))
    return (weights * (count / _numerics.at_least_one(count - 1.0)))[:, None]


def covariance_term(z, shares):
    return _gram.squares([z], [shares], diagonal=False) / z.shape[-1]


def variance_term(z, shares, target, eps):
    variance = _numerics.weighted_sum(ops.square(z), shares)
    return ops.sum(ops.relu(target - ops.sqrt(variance + eps))) / z.shape[-1]
