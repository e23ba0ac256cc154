"""Match where a student's feature map is active to where its teacher's is."""

import math
from typing import Literal, TypeAlias, get_args

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Shapes, Tensor, Tensors
from keras_penalties.regularizers._families import common_mask, mean_of_kept, same_shape
from keras_penalties.regularizers._penalty import Penalty
from keras_penalties.schedules._strength import Strength

Distance: TypeAlias = Literal["euclidean", "mean_squared"]


@register
class AttentionTransfer(Penalty):
    r"""Half the distance between the attention maps of a student and its teacher.

    $$\frac{1}{N}\sum_n \tfrac12\left\lVert \frac{q(s_n)}{\lVert q(s_n)\rVert_2}
    - \frac{q(t_n)}{\lVert q(t_n)\rVert_2}\right\rVert_2,\qquad q(x)_p = \sum_c x_{pc}^2$$

    \(q(x)_p\) is the activity at position \(p\), summed over the channels, so the two tensors may have
    different numbers of channels. The second tensor is the teacher's, and gets no gradient.
    `distance="mean_squared"` is the formula of the authors' code: the mean over the positions of the squared
    differences between the maps, not halved.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`. The paper uses
            1000 for each map, with the formula of its code, which is `"mean_squared"` here.
        distance: `"euclidean"`, as in the paper, or `"mean_squared"`, as in the authors' code.
            Defaults to `"euclidean"`.

    Shapes: a list of the student's tensor and the teacher's, both `(batch, ..., channels)` with at least one
    axis of positions, any float type, with the same shape except for the channels. The result is a float32
    scalar without units, at most 0.71; with `"mean_squared"`, at most 2 divided by the number of positions. A
    map of zeros stays zero, with gradient 0. The gradient is also 0 where both maps are equal. A position
    that either mask drops is not part of the maps.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> # two positions; active only at the first
    >>> student = np.array([[[3.0, 0.0], [0.0, 0.0]]])
    >>> teacher = np.array([[[0.0], [2.0]]])  # active only at the second
    >>> value = kp.regularizers.AttentionTransfer(1.0).measure([student, teacher])
    >>> round(float(value), 6)  # 0.5 * (1 + 1)**0.5
    0.707107
    >>> code = kp.regularizers.AttentionTransfer(1.0, distance="mean_squared")
    >>> float(code.measure([student, teacher]))  # (1 + 1) / 2
    1.0

    Raises:
        TypeError: if `strength` is not a number.
        ValueError: if `strength` is negative or not finite, `distance` is not one of the values above, a
            tensor has no positions, or the positions differ.

    Source: Zagoruyko and Komodakis, [Paying More Attention to Attention: Improving the Performance of
    Convolutional Neural Networks via Attention Transfer](https://arxiv.org/abs/1612.03928), ICLR 2017,
    equation 2 with \(p = 2\) and \(F_{sum}^2\), as a mean over the batch; \(\beta\) is `strength`. The
    authors' code squares the differences and takes their mean, and most ports follow it. torchdistill's
    `ATLoss` has both, and its `mode="paper"` does not halve.
    """

    tensors = 2

    def __init__(self, strength: Strength, distance: Distance = "euclidean"):
        super().__init__(strength)
        self.distance = _checks.choice(distance, "distance", self._owner, get_args(Distance))

    def check_shapes(self, shapes: Shapes) -> None:
        for i, shape in enumerate(shapes):
            if len(shape) < 3:
                raise ValueError(
                    f"{self._owner} compares the positions at which feature maps are active, so each tensor "
                    "must be (batch, ..., channels) with at least one axis of positions. Received: "
                    f"x[{i}] of shape {shape}. Name a layer before the pooling or `Flatten`, or use `Hint`."
                )
        same_shape(self._owner, [shape[:-1] for shape in shapes], "positions")

    def value(self, x: Tensors, mask: Tensors) -> Tensor:
        kept = common_mask(mask)
        student, teacher = (_map(_numerics.keep(t, kept)) for t in x)
        teacher, positions = ops.stop_gradient(teacher), tuple(range(1, len(student.shape)))
        if kept is None:
            count, counted = math.prod(_numerics.count_of(student, axis) for axis in positions), None
        else:
            count = _numerics.sum_examples(ops.cast(_numerics.positions(kept, x[0]), student.dtype))
            counted = count > 0
        if self.distance == "euclidean":
            values = 0.5 * _numerics.distance_of_units(student, teacher, positions)
        else:
            values = _numerics.sum_examples(ops.square(student - teacher)) / _numerics.at_least_one(count)
        return mean_of_kept(values, counted)


def _map(x):
    """The activity at each position, scaled to length 1 in each example."""
    x = x / _numerics.scale(_numerics.largest(x, tuple(range(1, len(x.shape)))))
    activity = ops.sum(ops.square(x), axis=-1)
    return _numerics.unit_of_ordinary(activity, tuple(range(1, len(activity.shape))))
