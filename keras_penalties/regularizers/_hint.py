"""How far a student's layer is from its teacher's."""

from keras import ops

from keras_penalties._serialization import register
from keras_penalties.regularizers._families import PerExamplePenalty


@register
class Hint(PerExamplePenalty):
    r"""Half the squared distance of a student's layer to a teacher's.

    $$\frac{1}{N}\sum_n \tfrac12\sum_i (t_{ni} - s_{ni})^2$$

    The second tensor is the teacher: no gradient goes into it. With `projection=True` the student's
    features go through a learned linear map to the teacher's number of features first; the layer or
    wrapper that the penalty is attached to owns its weights, trains and saves them.

    Args:
        strength: how hard the penalty presses, a finite float >= 0.
        per: `"example"` (the sum over an example's elements, as in the paper) or `"element"` (their mean).
        projection: whether a learned map takes the student's features to the teacher's.

    Shapes: a list of the student's and the teacher's tensor, `(batch, ..., features)`, any float type, of
    one shape, or with `projection=True` of one shape up to the features. The result is a float32 scalar.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> student, teacher = np.array([[1.0, 2.0]]), np.array([[1.0, 5.0]])
    >>> float(kp.regularizers.Hint(1.0).measure([student, teacher]))  # 0.5 * (0 + 9)
    4.5

    Raises:
        TypeError: if `strength` is not a number.
        ValueError: if `strength` is negative or not finite, `per` is neither word, the tensors' shapes do
            not fit, or `measure` is called on features that only a projection could compare.

    Source: Romero, Ballas, Kahou, Chassang, Gatta and Bengio, "FitNets: Hints for Thin Deep Nets", ICLR
    2015, equation 3. There the map is a convolution, or a matrix for dense layers; here it is a matrix
    over the features at each position. Keras' `FeatureDistillation` takes a mean and does not halve.
    """

    tensors = 2

    def __init__(self, strength, per="example", projection=False):
        super().__init__(strength, per=per)
        self.projection = bool(projection)

    def elements(self, x):
        student, teacher = x
        return 0.5 * ops.square(student - ops.stop_gradient(teacher))
