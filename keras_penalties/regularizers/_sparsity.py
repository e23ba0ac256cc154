"""How many of the activations are in use."""

import math

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._serialization import register
from keras_penalties.regularizers._families import BatchStatisticPenalty


@register
class KLSparsity(BatchStatisticPenalty):
    r"""How far the mean activation of each feature is from a target, as a divergence.

    $$\sum_j \rho\log\frac{\rho}{\hat\rho_j} + (1-\rho)\log\frac{1-\rho}{1-\hat\rho_j},\qquad
    \hat\rho_j = \frac{1}{N}\sum_n x_{nj}$$

    For activations between 0 and 1, as after a sigmoid. Where \(\hat\rho_j\) or \(1 - \hat\rho_j\)
    falls below 1e-7, its logarithm goes on as the tangent there: value and gradient stay finite, and
    the gradient of a dead, saturated or out-of-range feature points back inside.

    Args:
        strength: how hard the penalty presses, a finite float >= 0; Ng's notes use 3.
        target: the mean activation that costs nothing, between 0 and 1.
        axis: the axis of the features. Defaults to the last; positions are taken as rows.

    Shapes: `x` is `(batch, ..., features)`, any float type; the result is a float32 scalar, in nats,
    summed over the features.

    Example:

    >>> import keras_penalties as kp
    >>> value = kp.regularizers.KLSparsity(3.0, target=0.5).measure([[0.1, 0.4], [0.3, 0.6]])
    >>> round(float(value), 6)  # means 0.2 and 0.5: 0.5 log(0.5 / 0.2) + 0.5 log(0.5 / 0.8) + 0
    0.223144

    Raises:
        TypeError: if `strength` or `target` is not a number, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, `target` is not inside (0, 1), or `axis`
            is the batch.

    Source: Ng, "Sparse autoencoder", CS294A lecture notes, Stanford 2011; Lee, Ekanadham and Ng,
    NIPS 2007. Many codes clip the mean activation, which stops the gradient of a dead or saturated
    feature; this one does not.
    """

    def __init__(self, strength, target=0.05, axis=-1):
        super().__init__(strength, axis=axis)
        self.target = _checks.number(target, "target", self._owner, above=0.0, below=1.0)

    def statistic(self, rows, weights):
        p = self.target
        mean = _numerics.weighted_mean(rows, weights)
        active = p * (math.log(p) - _numerics.log(mean))
        inactive = (1.0 - p) * (math.log1p(-p) - _numerics.log(1.0 - mean))
        return ops.sum(ops.relu(active + inactive))
