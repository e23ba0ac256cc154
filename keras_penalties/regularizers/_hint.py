"""How far a student's layer is from its teacher's."""

from keras import ops

from keras_penalties import _checks
from keras_penalties._serialization import register
from keras_penalties._types import Per, Shapes, Tensor, Tensors
from keras_penalties.regularizers._families import PerExamplePenalty, same_shape
from keras_penalties.schedules._strength import Strength


@register
class Hint(PerExamplePenalty):
    r"""Half the squared distance between a student's layer and its teacher's.

    $$\frac{1}{N}\sum_n \tfrac12\sum_i (t_{ni} - r(s_n)_i)^2$$

    The second tensor is the teacher's, and gets no gradient. \(r\) is the identity. With `projection`, it is
    the paper's regressor, \(r(s) = s W + b\) over the features: it is trained with the model, so student and
    teacher may have different widths. Its weights belong to the `ActivityPenalty` or `HiddenOutputs` that has
    the penalty, and are saved with it.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        per: `"example"`, the default (the sum over an example's elements, as in the paper, so a long sequence
            weighs more than a short one), or `"element"` (their mean, so all weigh the same).
        projection: whether to learn a projection of the student's features. Defaults to False.

    Shapes: a list of the student's tensor and the teacher's, both `(batch, ...)`, any float type, of the same
    shape; with `projection`, the features may differ. The result is a float32 scalar in the squared units of
    the tensors.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> student, teacher = np.array([[1.0, 2.0]]), np.array([[1.0, 5.0]])
    >>> float(kp.regularizers.Hint(1.0).measure([student, teacher]))  # 0.5 * (0 + 9)
    4.5

    Raises:
        TypeError: if `strength` is not a number.
        ValueError: if `strength` is negative or not finite, `per` is not one of the values above, the shapes
            differ, or `measure` is called with a learned projection.

    Source: Romero, Ballas, Kahou, Chassang, Gatta and Bengio, [FitNets: Hints for Thin Deep
    Nets](https://arxiv.org/abs/1412.6550), ICLR 2015, equation 3, whose regressor is a convolution; here its
    kernel has one position. Keras' `FeatureDistillation` takes a mean, does not halve and learns no
    projection.
    """

    tensors = 2

    def __init__(self, strength: Strength, per: Per = "example", projection: bool = False):
        super().__init__(strength, per=per)
        self.projection = _checks.flag(projection, "projection", self._owner)
        self.masks_elements = not self.projection  # a mask of features cannot fit both widths

    def check_shapes(self, shapes: Shapes) -> None:
        if self.projection:
            same_shape(self._owner, [shape[:-1] for shape in shapes], "positions")
        else:
            super().check_shapes(shapes)

    def learned(self, shapes: Shapes) -> dict:
        if not self.projection:
            return {}
        student, teacher = (shape[-1] for shape in shapes)
        return {
            "kernel": {"shape": (student, teacher), "initializer": "glorot_uniform", "trainable": True},
            "bias": {"shape": (teacher,), "initializer": "zeros", "trainable": True},
        }

    def with_learned(self, xs: list, learned: dict) -> list:
        student, teacher = xs
        if learned:
            kernel, bias = (ops.cast(learned[name], student.dtype) for name in ("kernel", "bias"))
            student = student @ kernel + bias
        return [student, teacher]

    def elements(self, x: Tensors) -> Tensor:
        student, teacher = x
        return ops.square(student - ops.stop_gradient(teacher))

    def value(self, x: Tensors, mask: Tensors) -> Tensor:
        return 0.5 * super().value(x, mask)  # once, not for each element
