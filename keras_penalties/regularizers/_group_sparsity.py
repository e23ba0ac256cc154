"""How few activations, or groups of activations, an example uses."""

from collections.abc import Sequence

from keras import ops

from keras_penalties import _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Shapes, Tensor, Tensors
from keras_penalties.regularizers._families import PerExamplePenalty
from keras_penalties.schedules._strength import Strength


def _scaled(x):
    """Each example, scaled so that its squares fit the dtype: Hoyer's formulas do not depend on the scale."""
    return x / _numerics.scale(_numerics.largest(x, tuple(range(1, len(x.shape)))))


@register
class Hoyer(PerExamplePenalty):
    r"""The absolute sum of an example divided by its Euclidean norm: how evenly its activations are spread.

    $$\frac{1}{N}\sum_n \frac{\lVert x_n\rVert_1}{\lVert x_n\rVert_2}$$

    It is 1 if a single activation of an example is nonzero, and \(\sqrt{D}\) if all \(D\) are equal. It does
    not depend on the scale of an example, so, unlike `L1`, it cannot be lowered by shrinking all activations.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.

    Shapes: `x` is `(batch, ...)`, any float type; the result is a float32 scalar without units. The value of
    an example of zeros is 0, with gradient 0.

    Example:

    >>> import keras_penalties as kp
    >>> value = kp.regularizers.Hoyer(0.1).measure([[3.0, -4.0], [0.0, 2.0]])
    >>> round(float(value), 6)  # (7 / 5 + 1) / 2
    1.2

    Raises:
        TypeError: if `strength` is not a number.
        ValueError: if `strength` is negative or not finite.

    Source: Hoyer, [Non-negative Matrix Factorization with Sparseness
    Constraints](https://www.jmlr.org/papers/v5/hoyer04a.html), Journal of Machine Learning Research 5 (2004),
    whose sparseness is \((\sqrt{D} - h) / (\sqrt{D} - 1)\) for this \(h\). As a penalty: Krishnan, Tay and
    Fergus, [Blind Deconvolution Using a Normalized Sparsity
    Measure](https://doi.org/10.1109/CVPR.2011.5995521), CVPR 2011. Common implementations divide by the plain
    norm, which gives NaN for an example of zeros.
    """

    masks_elements = True

    def __init__(self, strength: Strength):
        super().__init__(strength)

    def examples(self, x: Tensors, mask: Tensors) -> Tensor:
        x = _scaled(x)
        norm = _numerics.sqrt(_numerics.sum_examples(ops.square(x)))
        return _numerics.sum_examples(_numerics.absolute(x)) / _numerics.nonzero(norm)


@register
class HoyerSquare(PerExamplePenalty):
    r"""The squared absolute sum of an example divided by its sum of squares: about its number of nonzeros.

    $$\frac{1}{N}\sum_n \frac{\lVert x_n\rVert_1^2}{\lVert x_n\rVert_2^2}$$

    It is \(k\) for \(k\) equal activations and zeros elsewhere, and does not depend on the scale of an
    example. It is a smooth substitute for the number of nonzero activations, and does not shrink large ones.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.

    Shapes: `x` is `(batch, ...)`, any float type; the result is a float32 scalar without units. The value of
    an example of zeros is 0, with gradient 0.

    Example:

    >>> import keras_penalties as kp
    >>> value = kp.regularizers.HoyerSquare(0.1).measure([[3.0, -4.0], [0.0, 2.0]])
    >>> round(float(value), 6)  # (49 / 25 + 1) / 2
    1.48

    Raises:
        TypeError: if `strength` is not a number.
        ValueError: if `strength` is negative or not finite.

    Source: Yang, Wen and Li, [DeepHoyer: Learning Sparser Neural Network with Differentiable Scale-Invariant
    Sparsity Measures](https://arxiv.org/abs/1908.09979), ICLR 2020, applied to activations. Their code takes
    a layer's whole tensor as one vector; here each example is one vector.
    """

    masks_elements = True

    def __init__(self, strength: Strength):
        super().__init__(strength)

    def examples(self, x: Tensors, mask: Tensors) -> Tensor:
        x = _scaled(x)
        squares = _numerics.sum_examples(ops.square(x))
        return ops.square(_numerics.sum_examples(_numerics.absolute(x))) / _numerics.nonzero(squares)


@register
class GroupLasso(PerExamplePenalty):
    r"""The Euclidean norms of groups of activations, summed over an example: whole groups become zero.

    $$\frac{1}{N}\sum_n \sum_g \lVert x_{ng}\rVert_2$$

    A group extends along the axes in `axis`. For an image of shape `(batch, height, width, channels)`,
    `axis=(1, 2)` makes each channel a group, and `axis=-1` each position.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        axis: the axis along which a group extends, or a tuple of axes; not the batch. Defaults to -1.

    Shapes: `x` is `(batch, ...)`, any float type; the result is a float32 scalar in the units of `x`. The
    value of a group of zeros is 0, with gradient 0.

    Example:

    >>> import keras_penalties as kp
    >>> # 5 + 2
    >>> float(kp.regularizers.GroupLasso(0.1, axis=-1).measure([[[3.0, 4.0], [0.0, 2.0]]]))
    7.0

    Raises:
        TypeError: if `strength` is not a number, or `axis` holds something that is not an int.
        ValueError: if `strength` is negative or not finite, `axis` names the batch, the same axis twice,
            or an axis that the tensor does not have.

    Source: Yuan and Lin, [Model Selection and Estimation in Regression with Grouped
    Variables](https://doi.org/10.1111/j.1467-9868.2005.00532.x), Journal of the Royal Statistical Society B
    68 (2006), applied to activations. Groups are not weighted by the square root of their size, since all
    groups along an axis have the same size.
    """

    masks_elements = True

    def __init__(self, strength: Strength, axis: int | Sequence[int] = -1):
        super().__init__(strength)
        axes = (axis,) if isinstance(axis, int) else axis
        if not isinstance(axes, (tuple, list)) or not axes or any(type(a) is not int for a in axes):
            raise TypeError(
                "`axis` of GroupLasso must be an int or a tuple of ints, the axes of a group, "
                f"such as -1 or (1, 2). Received: axis={axis!r}."
            )
        if 0 in axes:
            raise ValueError(
                f"`axis` of GroupLasso must not name the batch, which is axis 0. Received: axis={axis!r}."
            )
        self.axis = axis if isinstance(axis, int) else list(axes)

    def _axes(self, rank):
        axes = (self.axis,) if isinstance(self.axis, int) else tuple(self.axis)
        return tuple(a % rank if -rank <= a < rank else None for a in axes)

    def check_shapes(self, shapes: Shapes) -> None:
        (shape,) = shapes
        axes = self._axes(max(2, len(shape)))
        if None in axes or 0 in axes or len(set(axes)) < len(axes):
            raise ValueError(
                f"`axis` of GroupLasso must name axes of `x` after the batch, each once. Received: "
                f"axis={self.axis!r} for `x` of shape {shape}."
            )

    def examples(self, x: Tensors, mask: Tensors) -> Tensor:
        return _numerics.sum_examples(_numerics.norm(x, self._axes(len(x.shape))))
