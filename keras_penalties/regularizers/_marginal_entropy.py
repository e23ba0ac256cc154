"""How evenly a batch uses the features of its distributions."""

import math

from keras import ops

from keras_penalties import _checks, _logits, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Tensor, Tensors
from keras_penalties.regularizers._distribution import LOGITS
from keras_penalties.regularizers._families import BatchStatisticPenalty
from keras_penalties.schedules._strength import Strength


@register
class MarginalEntropy(BatchStatisticPenalty):
    r"""How far the mean row is from uniform: high if a batch uses few of the features.

    $$\log K + \sum_k \bar q_k\log\bar q_k,\qquad \bar q = \frac{1}{N}\sum_n q_n$$

    It raises the entropy of the mean row, so that all clusters or experts are used, while each row may stay
    confident. `Confidence` raises the entropy of each row instead. It is the divergence of the mean row from
    the uniform distribution over the \(K\) features, so it is never negative. Below 1e-7, the logarithm is
    replaced by its tangent at 1e-7, so the gradient of an unused feature is finite.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`; SCAN uses 5.
        from_logits: whether `x` holds logits instead of probabilities. Defaults to False.
        axis: the axis of the probabilities. Defaults to the last. Each position is a row.

    Shapes: `x` is `(batch, ..., features)`, any float type; the result is a float32 scalar in nats, between 0
    and the logarithm of the number of features.

    Example:

    >>> import keras_penalties as kp
    >>> penalty = kp.regularizers.MarginalEntropy(5.0)
    >>> round(float(penalty.measure([[1.0, 0.0], [0.0, 1.0]])), 6)  # the mean is uniform
    0.0
    >>> # log 2 + 0.75 log 0.75 + 0.25 log 0.25
    >>> round(float(penalty.measure([[1.0, 0.0], [0.5, 0.5]])), 6)
    0.130812

    Raises:
        TypeError: if `strength` is not a number, `from_logits` not a bool, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, `axis` is the batch, or probabilities outside
            [0, 1] are found.

    Source: Van Gansbeke, Vandenhende, Georgoulis, Proesmans and Van Gool, [SCAN: Learning to Classify Images
    without Labels](https://arxiv.org/abs/2005.12320), ECCV 2020, the second term of equation 2. There it is
    minus the entropy, which is smaller by the constant \(\log K\) and has the same gradient. Earlier: Krause,
    Perona and Gomes, [Discriminative Clustering by Regularized Information
    Maximization](https://papers.nips.cc/paper/4154-discriminative-clustering-by-regularized-information-maximization),
    NIPS 2010. `LoadBalance` counts the choices of a router instead.
    """

    _weights_optional = True
    _products = 0

    def __init__(self, strength: Strength, from_logits: bool = False, axis: int = -1):
        super().__init__(strength, axis=axis)
        self.from_logits = _checks.flag(from_logits, "from_logits", self._owner)

    @property
    def outside_0_and_1(self) -> str | None:
        return None if self.from_logits else LOGITS

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        count, q = rows.shape[-1], _logits.softmax(rows) if self.from_logits else rows
        mean = _numerics.weighted_sum(q, _numerics.shares(rows, weights))
        # For a nearly uniform mean, the difference between log K and the entropy would lose all digits.
        values = mean * _numerics.log(count * mean, edge=1e-7 * count)
        # From logits, the mean sums to 1 apart from rounding, which is kept out of the value.
        missing = (1.0 if self.from_logits else math.log(count)) * (1.0 / count - mean)
        return ops.relu(ops.sum(values + missing))
