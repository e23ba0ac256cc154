"""How many of the activations are in use."""

import math

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Per, Tensor, Tensors
from keras_penalties.regularizers._families import BatchStatisticPenalty, PerExamplePenalty
from keras_penalties.schedules._strength import Strength


@register
class KLSparsity(BatchStatisticPenalty):
    r"""How far the mean activation of each feature is from a target, as a divergence.

    $$\sum_j \rho\log\frac{\rho}{\hat\rho_j} + (1-\rho)\log\frac{1-\rho}{1-\hat\rho_j},\qquad
    \hat\rho_j = \frac{1}{N}\sum_n x_{nj}$$

    For activations between 0 and 1, as after a sigmoid; others are refused where their values can be seen,
    and a layer that ends in another activation, such as ReLU, gives a warning. Where \(\hat\rho_j\) or
    \(1 - \hat\rho_j\) falls below 1e-7, its logarithm goes on as the tangent there: value and gradient stay
    finite, and the gradient of a dead or saturated feature points back inside.

    Args:
        strength: how hard the penalty presses: a finite float >= 0, a schedule or a `Target`; Ng's notes use
            3.
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
        ValueError: if `strength` is negative or not finite, `target` is not inside (0, 1), `axis` is the
            batch, or values outside [0, 1] are seen.

    Source: Ng, "Sparse autoencoder", CS294A lecture notes, Stanford 2011; Lee, Ekanadham and Ng,
    NIPS 2007. Many codes clip the mean activation, which stops the gradient of a dead or saturated
    feature; this one does not.
    """

    outside_0_and_1 = "End the layer in a sigmoid, or use a penalty for any activations, such as `L1`."
    _weights_optional = True
    _products = 0

    def __init__(self, strength: Strength, target: float = 0.05, axis: int = -1):
        super().__init__(strength, axis=axis)
        self.target = _checks.number(target, "target", self._owner, above=0.0, below=1.0)

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        p = self.target
        mean = _numerics.weighted_mean(rows, weights)
        active = p * (math.log(p) - _numerics.log(mean))
        inactive = (1.0 - p) * (math.log1p(-p) - _numerics.log(1.0 - mean))
        return ops.sum(ops.relu(active + inactive))


@register
class TransformedL1(PerExamplePenalty):
    r"""A bounded count of what is not zero, between the number of non-zeros and their absolute sum.

    $$\frac{1}{N}\sum_n \sum_i \frac{(\beta + 1)\,|x_{ni}|}{\beta + |x_{ni}|}$$

    For small \(\beta\) every activation that is not near zero costs the same, close to 1; for large
    \(\beta\) it is `L1`. So large activations are not pulled down, which `L1` does.

    Args:
        strength: how hard the penalty presses: a finite float >= 0, a schedule or a `Target`.
        beta: where the cost bends, a float > 0, in the units of `x`.
        per: `"example"` (the sum over an example's elements) or `"element"` (their mean).

    Shapes: `x` is `(batch, ...)`, any float type; the result is a float32 scalar, without units, below
    `beta + 1` for each element.

    Example:

    >>> import keras_penalties as kp
    >>> float(kp.regularizers.TransformedL1(0.1).measure([[1.0, -3.0], [0.0, 0.0]]))  # (1 + 1.5) / 2
    1.25

    Raises:
        TypeError: if `strength` or `beta` is not a number.
        ValueError: if `strength` is negative or not finite, `beta` is not positive, or `per` is neither
            word.

    Source: Nikolova, "Local Strong Homogeneity of a Regularized Estimator", SIAM Journal on Applied
    Mathematics 61 (2000); Zhang and Xin, "Minimization of Transformed L1 Penalty", Mathematical
    Programming 169 (2018), where \(\beta\) is called \(a\). On activations: arXiv 2405.19652 (2024).
    """

    def __init__(self, strength: Strength, beta: float = 1.0, per: Per = "example"):
        super().__init__(strength, per=per)
        self.beta = _checks.number(beta, "beta", self._owner, above=0.0)

    def elements(self, x: Tensors) -> Tensor:
        size = _numerics.absolute(x)
        total = self.beta + size
        # On its own side of `beta` each form keeps the digits of its gradient.
        return (self.beta + 1.0) * ops.where(size < self.beta, size / total, 1.0 - self.beta / total)


@register
class LogSparsity(PerExamplePenalty):
    r"""The logarithm of the absolute activations, which presses small ones hardest.

    $$\frac{1}{N}\sum_n \sum_i \log\left(1 + \frac{|x_{ni}|}{\epsilon}\right)$$

    Args:
        strength: how hard the penalty presses: a finite float >= 0, a schedule or a `Target`.
        eps: the size below which an activation counts as small, a float > 0, in the units of `x`.
        per: `"example"` (the sum over an example's elements) or `"element"` (their mean).

    Shapes: `x` is `(batch, ...)`, any float type; the result is a float32 scalar, in nats.

    Example:

    >>> import keras_penalties as kp
    >>> value = kp.regularizers.LogSparsity(0.1).measure([[1.0, -3.0], [0.0, 0.0]])
    >>> round(float(value), 6)  # (log 2 + log 4) / 2
    1.039721

    Raises:
        TypeError: if `strength` or `eps` is not a number.
        ValueError: if `strength` is negative or not finite, `eps` is not positive, or `per` is neither
            word.

    Source: Candes, Wakin and Boyd, "Enhancing Sparsity by Reweighted L1 Minimization", Journal of Fourier
    Analysis and Applications 14 (2008), where it is \(\log(|x| + \epsilon)\): less by the constant
    \(\log\epsilon\), so that zero costs nothing here. Olshausen and Field, Nature 381 (1996), use
    \(\log(1 + x^2)\) for sparse codes.
    """

    def __init__(self, strength: Strength, eps: float = 1.0, per: Per = "example"):
        super().__init__(strength, per=per)
        self.eps = _checks.number(eps, "eps", self._owner, above=0.0)

    def elements(self, x: Tensors) -> Tensor:
        size = _numerics.absolute(x)
        # A large `size` over a small `eps` may be more than the type holds.
        large = ops.log(size + self.eps) - math.log(self.eps)
        return ops.where(size < self.eps, ops.log1p(size / self.eps), large)
