"""The distance of each example's norm from a given norm."""

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Tensor, Tensors
from keras_penalties.regularizers._families import PerExamplePenalty
from keras_penalties.schedules._strength import Strength


@register
class GradientPenalty(PerExamplePenalty):
    r"""The mean squared difference of each example's Euclidean norm from `norm`.

    $$\frac{1}{N}\sum_n \left(\lVert g_n\rVert_2 - c\right)^2$$

    It is meant for gradients: put it on a `models.Gradient`, such as the gradient of a critic with respect to
    its input. It can measure any tensor.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        norm: the norm \(c\) to aim at: 1 for a 1-Lipschitz critic, 0 for small gradients. Defaults to 1.0.

    Shapes: `x` is `(batch, ...)`, any float type; the result is a float32 scalar in the squared units of `x`.
    The value of an example of zeros is `norm**2`, with gradient 0.

    Example:

    >>> import keras_penalties as kp
    >>> # (4**2 + 1) / 2
    >>> float(kp.regularizers.GradientPenalty(10.0).measure([[3.0, 4.0], [0.0, 0.0]]))
    8.5

    Raises:
        TypeError: if `strength` or `norm` is not a number.
        ValueError: if `strength` or `norm` is negative or not finite.

    Source: Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville, [Improved Training of Wasserstein
    GANs](https://arxiv.org/abs/1704.00028), NeurIPS 2017, with a strength of 10 and `norm=1.0`. With
    `norm=0.0` it is R1 of Mescheder, Geiger and Nowozin, [Which Training Methods for GANs do actually
    Converge?](https://arxiv.org/abs/1801.04406), ICML 2018, whose factor is half of their gamma. Common
    implementations take the root of a sum of squares, whose gradient at 0 is NaN.
    """

    masks_elements = True

    def __init__(self, strength: Strength, norm: float = 1.0):
        super().__init__(strength)
        self.norm = _checks.number(norm, "norm", "GradientPenalty", at_least=0.0)

    def examples(self, x: Tensors, mask: Tensors) -> Tensor:
        if self.norm == 0.0:
            return _numerics.sum_examples(ops.square(x))
        norms = (
            _numerics.norm(x, tuple(range(1, len(x.shape)))) if len(x.shape) > 1 else _numerics.absolute(x)
        )
        return ops.square(norms - self.norm)
