"""How much activations change from one position to the next."""

import math

from keras import ops

from keras_penalties import _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Shapes, Tensor, Tensors
from keras_penalties.regularizers._families import PerExamplePenalty
from keras_penalties.schedules._strength import Strength


@register
class TotalVariation(PerExamplePenalty):
    r"""The sum of the absolute differences between neighbours, along each position axis.

    $$\frac{1}{N}\sum_n \sum_{a} \sum_{i} |x_{n,i+e_a} - x_{n,i}|$$

    The axes \(a\) are those between the batch and the features: time; height and width; or depth, height and
    width. This is the anisotropic form, without a square root. A pair counts if the mask keeps both.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        per: `"example"`, the default (the sum over all pairs of an example, so a long sequence weighs more
            than a short one), or `"element"` (that sum divided by the number of the example's elements, so
            all weigh the same).

    Shapes: `x` is `(batch, one to three positions, features)`, any float type; the result is a float32
    scalar in the units of `x`.

    Example:

    >>> import keras_penalties as kp
    >>> image = [[[[1.0], [2.0]], [[5.0], [5.0]]]]  # 2 x 2 pixels, one channel
    >>> # 1 + 0 across, 4 + 3 down
    >>> float(kp.regularizers.TotalVariation(0.1).measure(image))
    8.0

    Raises:
        TypeError: if `strength` is not a number.
        ValueError: if `strength` is negative or not finite, `per` is not one of the values above, or `x` has
            no position axis, or more than three.

    Source: Rudin, Osher and Fatemi, [Nonlinear Total Variation Based Noise Removal
    Algorithms](https://doi.org/10.1016/0167-2789%2892%2990242-F), Physica D 60 (1992), in its anisotropic
    form. It equals the mean over a batch of `tf.image.total_variation`.
    """

    masks_elements = True

    def check_shapes(self, shapes: Shapes) -> None:
        positions(self._owner, shapes[0], most=3)

    def examples(self, x: Tensors, mask: Tensors) -> Tensor:
        if mask is not None and len(mask.shape) < len(x.shape):
            mask = _numerics.positions(mask, x)
        total = 0.0
        for axis in range(1, len(x.shape) - 1):
            before, after = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
            steps = _numerics.absolute(x[after] - x[before])
            if mask is not None:
                steps = _numerics.keep(steps, ops.logical_and(mask[before], mask[after]))
            total = total + _numerics.sum_examples(steps)
        return total


@register
class TemporalSmoothness(PerExamplePenalty):
    r"""The mean squared step from one position in time to the next.

    $$\frac{1}{N}\sum_n \frac{1}{(T_n - 1)\,D}\sum_{t} \lVert x_{n,t+1} - x_{n,t}\rVert_2^2$$

    Also known as temporal activation regularization (TAR). `L2(per="element")` on the same tensor is its
    companion, AR. With a mask, a step goes from one kept position to the next kept one.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`; the authors use 1
            for TAR.

    Shapes: `x` is `(batch, time, ..., features)`, any float type; the result is a float32 scalar in the
    squared units of `x`. The value of an example with a single position is 0.

    Example:

    >>> import keras_penalties as kp
    >>> # (1 + 9) / 2
    >>> float(kp.regularizers.TemporalSmoothness(1.0).measure([[[1.0], [2.0], [5.0]]]))
    5.0

    Raises:
        TypeError: if `strength` is not a number.
        ValueError: if `strength` is negative or not finite, or `x` has no time axis.

    Source: Merity, McCann and Socher, [Revisiting Activation Regularization for Language
    RNNs](https://arxiv.org/abs/1708.01009), ICML workshop on Learning to Generate Natural Language, 2017. As
    in the authors' code, it is a mean over steps and features; their code also counts padding.
    """

    masks_elements = True

    def __init__(self, strength: Strength):
        super().__init__(strength)

    def check_shapes(self, shapes: Shapes) -> None:
        positions(self._owner, shapes[0])

    def examples(self, x: Tensors, mask: Tensors) -> Tensor:
        batch, time, features = ops.shape(x)[0], ops.shape(x)[1], x.shape[-1]
        if mask is None:
            steps = ops.square(x[:, 1:] - x[:, :-1])
            return _numerics.sum_examples(steps) / self._size(steps)
        if len(mask.shape) == len(x.shape):  # each feature is a separate track
            kept, x = mask[..., None], x[..., None]
            features = 1
        else:
            kept = _numerics.positions(mask, x)[..., None]
        tracks = math.prod(ops.shape(x)[2:-1])
        kept = ops.reshape(kept, (batch, time, tracks))
        x = ops.reshape(x, (batch, time, tracks, features))
        # Kept positions move to the front in their order, so each comes right before the next kept one.
        places = ops.reshape(ops.arange(time, dtype="int32"), (1, -1, 1))
        order = ops.argsort(ops.where(kept, places, places + time), axis=1)
        x = ops.take_along_axis(x, order[..., None], axis=1)
        both = ops.take_along_axis(kept, order, axis=1)[:, 1:]
        steps = _numerics.keep(ops.square(x[:, 1:] - x[:, :-1]), both)
        counted = _numerics.sum_examples(ops.cast(both, x.dtype)) * features
        return _numerics.sum_examples(steps) / _numerics.at_least_one(counted)


def positions(owner, shape, most=None):
    """Reject a tensor without positions between the batch and the features."""
    count = len(shape) - 2
    if count < 1 or (most is not None and count > most):
        wanted = "a position axis" if most is None else f"one to {most} position axes"
        raise ValueError(
            f"`x` of {owner} must have {wanted} between the batch and the features. Received: shape={shape}."
        )
