"""How far a student's layer is from its teacher's."""

from keras import ops

from keras_penalties._serialization import register
from keras_penalties.regularizers._families import PerExamplePenalty


@register
class Hint(PerExamplePenalty):
    r"""Half the squared distance of a student's layer to a teacher's.

    $$\frac{1}{N}\sum_n \tfrac12\sum_i (t_{ni} - s_{ni})^2$$

    The second tensor is the teacher: no gradient goes into it. A student of another width needs a layer of
    its own that brings its features to the teacher's number, a `Dense` or a convolution of the model.

    Args:
        strength: how hard the penalty presses, a finite float >= 0.
        per: `"example"` (the sum over an example's elements, as in the paper) or `"element"` (their mean).

    Shapes: a list of the student's and the teacher's tensor, both `(batch, ...)`, any float type. The
    result is a float32 scalar in the squared units of the tensors.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> student, teacher = np.array([[1.0, 2.0]]), np.array([[1.0, 5.0]])
    >>> float(kp.regularizers.Hint(1.0).measure([student, teacher]))  # 0.5 * (0 + 9)
    4.5

    Raises:
        TypeError: if `strength` is not a number.
        ValueError: if `strength` is negative or not finite, `per` is neither word, or the tensors differ
            in shape.

    Source: Romero, Ballas, Kahou, Chassang, Gatta and Bengio, "FitNets: Hints for Thin Deep Nets", ICLR
    2015, equation 3, where a learned convolution brings the student to the teacher's shape. Keras'
    `FeatureDistillation` takes a mean and does not halve.
    """

    tensors = 2

    def elements(self, x):
        student, teacher = x
        return 0.5 * ops.square(student - ops.stop_gradient(teacher))
