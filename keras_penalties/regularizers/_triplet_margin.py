"""An anchor that is closer to its positive than to its negative."""

from typing import Literal, TypeAlias, get_args

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Shapes, Tensor, Tensors
from keras_penalties.regularizers._families import common_mask, mean_of_kept, same_shape
from keras_penalties.regularizers._penalty import Penalty
from keras_penalties.schedules._strength import Strength

Distance: TypeAlias = Literal["euclidean", "squared", "cosine"]


@register
class TripletMargin(Penalty):
    r"""Brings each anchor closer to its positive than to its negative, by a margin.

    $$\frac{1}{N}\sum_n \max\left(D(a_n, p_n) - D(a_n, q_n) + m,\; 0\right)$$

    \(a\) are the anchors, \(p\) the positives and \(q\) the negatives. The mean is over all rows: where there
    are positions, each is a row. Its gradient at distance 0 is 0, where a plain square root gives NaN.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        margin: \(m\), by how much the negative should be farther than the positive, in the units of the
            distance: a finite float > 0. Defaults to 1.0.
        distance: `"euclidean"`, `"squared"` for its square, or `"cosine"`, one minus the cosine of the angle.
            Defaults to `"euclidean"`.

    Shapes: a list of the anchors, positives and negatives, all `(batch, ..., features)`, of the same shape,
    any float type. The result is a float32 scalar in the units of the distance. Rows are not normalized. A
    row that any mask drops does not count.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> anchor, positive = np.array([[[0.0], [0.0]], [[3.0], [1.0]]])
    >>> negative = np.array([[3.5], [4.0]])
    >>> triplet = kp.regularizers.TripletMargin(1.0, margin=1.0)
    >>> float(triplet.measure([anchor, positive, negative]))  # (3 - 3.5 + 1 + 0) / 2
    0.25

    Raises:
        TypeError: if `strength` or `margin` is not a number.
        ValueError: if `strength` is negative or not finite, `margin` is not positive, `distance` is not one
            of the values above, or the shapes differ.

    Source: Balntas, Riba, Ponsa and Mikolajczyk, [Learning Local Feature Descriptors with Triplets and
    Shallow Convolutional Neural Networks](https://doi.org/10.5244/C.30.119), BMVC 2016, without its swap of
    anchor and positive. PyTorch's `TripletMarginLoss` adds 1e-6 to each difference, which changes the value
    by about as much. Schroff, Kalenichenko and Philbin, [FaceNet: A Unified Embedding for Face Recognition
    and Clustering](https://arxiv.org/abs/1503.03832), CVPR 2015, use `distance="squared"` and a margin of
    0.2, with rows of unit length. `keras_penalties.losses.Triplet` finds the triplets of a batch by its
    labels.
    """

    tensors = 3

    def __init__(self, strength: Strength, margin: float = 1.0, distance: Distance = "euclidean"):
        super().__init__(strength)
        self.margin = _checks.number(margin, "margin", self._owner, above=0.0)
        self.distance = _checks.choice(distance, "distance", self._owner, get_args(Distance))

    def check_shapes(self, shapes: Shapes) -> None:
        same_shape(self._owner, shapes)

    def value(self, x: Tensors, mask: Tensors) -> Tensor:
        kept = common_mask(mask)
        anchor, positive, negative = (_numerics.keep(t, kept) for t in x)
        farther = self._distance(anchor, positive) - self._distance(anchor, negative)
        return mean_of_kept(ops.relu(farther + self.margin), kept)

    def _distance(self, a, b):
        if self.distance == "euclidean":
            return _numerics.norm(a - b, -1)
        if self.distance == "squared":
            return ops.sum(ops.square(a - b), axis=-1)
        return 1.0 - ops.sum(_numerics.unit(a) * _numerics.unit(b), axis=-1)
