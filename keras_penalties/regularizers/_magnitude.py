"""How large the activations are."""

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Per, Tensor, Tensors
from keras_penalties.regularizers._families import PerExamplePenalty
from keras_penalties.schedules._strength import Strength


@register
class L1(PerExamplePenalty):
    r"""The sum of the absolute activations of an example, averaged over the batch.

    $$\frac{1}{N}\sum_n \sum_i |x_{ni}|$$

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        per: `"example"`, the default (the sum over an example's elements, so a long sequence weighs more than
            a short one), or `"element"` (their mean, so all weigh the same).

    Shapes: `x` is `(batch, ...)`, any float type; the result is a float32 scalar in the units of `x`.

    Example:

    >>> import keras_penalties as kp
    >>> float(kp.regularizers.L1(0.1).measure([[1.0, -2.0], [0.0, 3.0]]))  # (3 + 3) / 2
    3.0
    >>> float(kp.regularizers.L1(0.1, per="element").measure([[1.0, -2.0], [0.0, 3.0]]))
    1.5

    Raises:
        TypeError: if `strength` is not a number.
        ValueError: if `strength` is negative or not finite, or `per` is not one of the values above.

    Source: the lasso, Tibshirani, [Regression Shrinkage and Selection via the
    Lasso](https://doi.org/10.1111/j.2517-6161.1996.tb02080.x), Journal of the Royal Statistical Society B 58
    (1996), applied to activations. `keras.regularizers.L1` gives the same number from Keras 3.14 on, but
    without masks. In earlier releases, its value grows with the batch size.
    """

    def elements(self, x: Tensors) -> Tensor:
        return _numerics.absolute(x)


@register
class L2(PerExamplePenalty):
    r"""The sum of the squared activations of an example, averaged over the batch.

    $$\frac{1}{N}\sum_n \sum_i x_{ni}^2$$

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        per: `"example"`, the default (the sum over an example's elements, so a long sequence weighs more than
            a short one), or `"element"` (their mean, so all weigh the same).

    Shapes: `x` is `(batch, ...)`, any float type; the result is a float32 scalar in the squared units
    of `x`.

    Example:

    >>> import keras_penalties as kp
    >>> float(kp.regularizers.L2(0.1).measure([[1.0, -2.0], [0.0, 3.0]]))  # (5 + 9) / 2
    7.0

    Raises:
        TypeError: if `strength` is not a number.
        ValueError: if `strength` is negative or not finite, or `per` is not one of the values above.

    Source: ridge regression, Hoerl and Kennard, [Ridge Regression: Biased Estimation for Nonorthogonal
    Problems](https://doi.org/10.1080/00401706.1970.10488634), Technometrics 12 (1970), applied to
    activations. It is not halved. `keras.regularizers.L2` gives the same number from Keras 3.14 on, but
    without masks, and `inf` if float16 overflows. In earlier releases, its value grows with the batch size.
    """

    def elements(self, x: Tensors) -> Tensor:
        return ops.square(x)


@register
class L1L2(PerExamplePenalty):
    r"""The weighted sum of an example's absolute and squared activations, averaged over the batch.

    $$\frac{1}{N}\sum_n \sum_i \left(l_1 |x_{ni}| + l_2 x_{ni}^2\right)$$

    The two factors are part of the formula, so `measure` is what is added to the loss.

    Args:
        l1: the factor on the absolute values, a finite float >= 0. Defaults to 0.0.
        l2: the factor on the squares, a finite float >= 0. Defaults to 0.0.
        per: `"example"`, the default (the sum over an example's elements, so a long sequence weighs more than
            a short one), or `"element"` (their mean, so all weigh the same).

    Shapes: `x` is `(batch, ...)`, any float type; the result is a float32 scalar.

    Example:

    >>> import keras_penalties as kp
    >>> float(kp.regularizers.L1L2(l1=0.5, l2=0.25).measure([[1.0, -2.0], [0.0, 3.0]]))
    3.25

    Raises:
        TypeError: if `l1` or `l2` is not a number.
        ValueError: if `l1` or `l2` is negative or not finite, or `per` is not one of the values above.

    Source: the elastic net, Zou and Hastie, [Regularization and Variable Selection via the Elastic
    Net](https://doi.org/10.1111/j.1467-9868.2005.00503.x), Journal of the Royal Statistical Society B 67
    (2005), applied to activations. The arguments are those of `keras.regularizers.L1L2`.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, per: Per = "example"):
        super().__init__(1.0, per=per)
        self.l1 = _checks.number(l1, "l1", self._owner, at_least=0.0)
        self.l2 = _checks.number(l2, "l2", self._owner, at_least=0.0)

    def elements(self, x: Tensors) -> Tensor:
        return self.l1 * _numerics.absolute(x) + self.l2 * ops.square(x)


@register
class Excess(PerExamplePenalty):
    r"""How far activations exceed a bound, in either direction.

    $$\frac{1}{N}\sum_n \sum_i \max(0,\; |x_{ni}| - t)$$

    Activations within the bound are not penalized, and all others have gradients of the same size. For
    activations that must fit the range of a quantized or half-precision format.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        threshold: the bound \(t\), a finite float >= 0, in the units of `x`.
        per: `"example"`, the default (the sum over an example's elements, so a long sequence weighs more than
            a short one), or `"element"` (their mean, so all weigh the same).

    Shapes: `x` is `(batch, ...)`, any float type; the result is a float32 scalar in the units of `x`.

    Example:

    >>> import keras_penalties as kp
    >>> # (2 + 1) / 2
    >>> float(kp.regularizers.Excess(0.1, threshold=6.0).measure([[1.0, -8.0], [7.0, 6.0]]))
    1.5

    Raises:
        TypeError: if `strength` or `threshold` is not a number.
        ValueError: if `strength` or `threshold` is negative or not finite, or `per` is not one of the values
            above.

    Source: the margin form of range regularization, Kundu, Yoo, Mishra, Cho and Adya, [R2 Loss: Range
    Restriction Loss for Model Compression and Quantization](https://arxiv.org/abs/2303.08253), 2023: there
    for weights and with a learned margin, here for activations and with a fixed bound. `ReLU(max_value=6)`
    clips instead, so activations beyond the bound have no gradient.
    """

    def __init__(self, strength: Strength, threshold: float, per: Per = "example"):
        super().__init__(strength, per=per)
        self.threshold = _checks.number(threshold, "threshold", self._owner, at_least=0.0)

    def elements(self, x: Tensors) -> Tensor:
        return ops.relu(_numerics.absolute(x) - self.threshold)
