"""How many activations are in use."""

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

    For activations between 0 and 1, as after a sigmoid. Other values raise an error where they are known, and
    a layer that ends in another activation, such as ReLU, gives a warning. Where \(\hat\rho_j\) or
    \(1 - \hat\rho_j\) is below 1e-7, its logarithm is replaced by its tangent at 1e-7: value and gradient
    stay finite, and a dead or saturated feature still has a gradient towards the target.

    A sigmoid starts near 0.5. In a short training, start it at the target: `bias_initializer=
    keras.initializers.Constant(log(target / (1 - target)))`. The mean of a small batch is noisy, which
    adds to the penalty: use batches of 100 rows or more. Its gradient should be about the main loss's,
    a `ratio` of 1 in `audit`.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`. Ng's notes use 3,
            with half a squared error summed over n outputs: 6 / n with Keras' `"mse"`.
        target: the mean activation to aim at, between 0 and 1. Defaults to 0.05.
        axis: the axis of the features. Defaults to the last. Each position is a row.

    Shapes: `x` is `(batch, ..., features)`, any float type; the result is a float32 scalar, in nats,
    summed over the features.

    Example:

    >>> import keras_penalties as kp
    >>> penalty = kp.regularizers.KLSparsity(3.0, target=0.5)
    >>> value = penalty.measure([[0.1, 0.4], [0.3, 0.6]])
    >>> # means 0.2 and 0.5: 0.5 log(0.5 / 0.2) + 0.5 log(0.5 / 0.8) + 0
    >>> round(float(value), 6)
    0.223144

    Raises:
        TypeError: if `strength` or `target` is not a number, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, `target` is not inside (0, 1), `axis` is the
            batch, or values outside [0, 1] are found.

    Source: Ng, [Sparse Autoencoder](https://web.stanford.edu/class/cs294a/sparseAutoencoder.pdf), CS294A
    lecture notes, Stanford 2011; Lee, Ekanadham and Ng, [Sparse Deep Belief Net Model for Visual Area
    V2](https://papers.nips.cc/paper/3313-sparse-deep-belief-net-model-for-visual-area-v2), NIPS 2007. Many
    implementations clip the mean activation, which stops the gradient of a dead or saturated feature; this
    one does not.
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
    r"""A bounded penalty, between the number of nonzero activations and their absolute sum.

    $$\frac{1}{N}\sum_n \sum_i \frac{(\beta + 1)\,|x_{ni}|}{\beta + |x_{ni}|}$$

    For small \(\beta\), each activation that is not near zero adds nearly 1; for large \(\beta\), the penalty
    is `L1`. Unlike `L1`, it hardly shrinks activations that are large compared to \(\beta\).

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        beta: the size of activations above which the penalty levels off, a float > 0, in the units of `x`.
            Defaults to 1.0.
        per: `"example"`, the default (the sum over an example's elements, so a long sequence weighs more than
            a short one), or `"element"` (their mean, so all weigh the same).

    Shapes: `x` is `(batch, ...)`, any float type; the result is a float32 scalar without units, below
    `beta + 1` for each element.

    Example:

    >>> import keras_penalties as kp
    >>> # (1 + 1.5) / 2
    >>> float(kp.regularizers.TransformedL1(0.1).measure([[1.0, -3.0], [0.0, 0.0]]))
    1.25

    Raises:
        TypeError: if `strength` or `beta` is not a number.
        ValueError: if `strength` is negative or not finite, `beta` is not positive, or `per` is not one of
            the values above.

    Source: Nikolova, [Local Strong Homogeneity of a Regularized
    Estimator](https://doi.org/10.1137/S0036139997327794), SIAM Journal on Applied Mathematics 61 (2000);
    Zhang and Xin, [Minimization of Transformed L1 Penalty](https://arxiv.org/abs/1411.5735), Mathematical
    Programming 169 (2018), where \(\beta\) is called \(a\). On activations: Yu and Tian, [Dual Sparse
    Training Framework](https://arxiv.org/abs/2405.19652), 2024.
    """

    def __init__(self, strength: Strength, beta: float = 1.0, per: Per = "example"):
        super().__init__(strength, per=per)
        self.beta = _checks.number(beta, "beta", self._owner, above=0.0)

    def elements(self, x: Tensors) -> Tensor:
        size = _numerics.absolute(x)
        total = self.beta + size
        # Each form keeps the digits of its gradient on its own side of `beta`.
        return (self.beta + 1.0) * ops.where(size < self.beta, size / total, 1.0 - self.beta / total)


@register
class LogSparsity(PerExamplePenalty):
    r"""The logarithm of the absolute activations, whose gradient is largest for small ones.

    $$\frac{1}{N}\sum_n \sum_i \log\left(1 + \frac{|x_{ni}|}{\epsilon}\right)$$

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        eps: the size below which an activation counts as small, a float > 0, in the units of `x`.
            Defaults to 1.0.
        per: `"example"`, the default (the sum over an example's elements, so a long sequence weighs more than
            a short one), or `"element"` (their mean, so all weigh the same).

    Shapes: `x` is `(batch, ...)`, any float type; the result is a float32 scalar, in nats.

    Example:

    >>> import keras_penalties as kp
    >>> value = kp.regularizers.LogSparsity(0.1).measure([[1.0, -3.0], [0.0, 0.0]])
    >>> round(float(value), 6)  # (log 2 + log 4) / 2
    1.039721

    Raises:
        TypeError: if `strength` or `eps` is not a number.
        ValueError: if `strength` is negative or not finite, `eps` is not positive, or `per` is not one of the
            values above.

    Source: Candes, Wakin and Boyd, [Enhancing Sparsity by Reweighted L1
    Minimization](https://doi.org/10.1007/s00041-008-9045-x), Journal of Fourier Analysis and Applications 14
    (2008), who use \(\log(|x| + \epsilon)\). Here \(\log\epsilon\) is subtracted, so the value at zero is 0.
    Olshausen and Field, [Emergence of Simple-Cell Receptive Field Properties by Learning a Sparse Code for
    Natural Images](https://doi.org/10.1038/381607a0), Nature 381 (1996), use \(\log(1 + x^2)\) for sparse
    codes.
    """

    def __init__(self, strength: Strength, eps: float = 1.0, per: Per = "example"):
        super().__init__(strength, per=per)
        self.eps = _checks.number(eps, "eps", self._owner, above=0.0)

    def elements(self, x: Tensors) -> Tensor:
        size = _numerics.absolute(x)
        # A large `size` divided by a small `eps` may overflow.
        large = ops.log(size + self.eps) - math.log(self.eps)
        return ops.where(size < self.eps, ops.log1p(size / self.eps), large)
