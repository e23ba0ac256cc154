"""Triplet loss over the triplets of a batch."""

from functools import partial
from typing import Any, Literal, TypeAlias, get_args

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import DType, Reduction, Tensor, Tensors
from keras_penalties.losses._class_ids import class_labels
from keras_penalties.losses._declared import declared
from keras_penalties.losses._pairs import BatchLoss, Pairs, count, mean_where

Mining: TypeAlias = Literal["semi_hard", "hard", "all"]
Distance: TypeAlias = Literal["euclidean", "squared"]


@register
@declared(
    class_labels,
    margin=partial(_checks.number, above=0.0),
    mining=partial(_checks.choice, allowed=get_args(Mining)),
    distance=partial(_checks.choice, allowed=get_args(Distance)),
)
def triplet(
    y_true: Tensors,
    y_pred: Tensors,
    margin: float = 1.0,
    mining: Mining = "semi_hard",
    distance: Distance = "euclidean",
) -> Tensor:
    """Triplet loss of each row as the anchor: one value per row, as `Triplet`."""
    pairs = Pairs(y_true, y_pred, "triplet")
    mine = {"semi_hard": _semi_hard, "hard": _hard, "all": _all}[mining]
    distances, reach = pairs.distances_and_reach()
    if distance == "squared":
        distances, reach = ops.square(distances), ops.square(reach)
    values = mine(distances, reach, pairs, margin)
    complete = ops.any(pairs.positive, axis=1) & ops.any(pairs.negative, axis=1)
    return ops.where(complete, values, 0)


@register
class Triplet(BatchLoss):
    r"""Brings each row closer to its own class than to any other, by a margin.

    $$\max(D_{ap} - D_{an} + m, 0)$$

    Here \(a\) is an anchor, \(p\) a positive (another row of its class) and \(n\) a negative (a row of
    another class). The value of a row is the mean over the triplets in which it is the anchor:

    - `"semi_hard"`: for each positive, the closest negative that is farther than the positive, by more than
      rounding, or the farthest of all if none is farther.
    - `"hard"`: one triplet, the farthest positive and the closest negative.
    - `"all"`: every positive with every negative, including triplets with a loss of zero.

    A row without a positive or without a negative in its batch has the value 0, and counts in the mean.
    Memory grows with the square of the batch in all three.

    Args:
        margin: by how much a negative should be farther than a positive, in the units of the distance: a
            finite float > 0. Defaults to 1.0.
        mining: `"semi_hard"`, `"hard"` or `"all"`. Defaults to `"semi_hard"`.
        distance: `"euclidean"`, or `"squared"` for its square. Defaults to `"euclidean"`.
        reduction: as in Keras; the default is the mean over the batch.
        name: the loss's name.
        dtype: as in Keras.

    Shapes: `y_true` holds class ids below `2**31`, `(batch,)` or `(batch, 1)`, or is one-hot,
    `(batch, classes)`; `y_pred` holds the embeddings, `(batch, features)`. Without reduction the result
    is `(batch,)`. A row without a label (a negative id, or a one-hot row of zeros) counts as one whose sample
    weight is zero. Such rows, and those that a mask drops, are in no triplet. Embeddings are not normalized:
    for unit length put `keras.layers.UnitNormalization()` before the loss.

    Example:

    >>> import keras_penalties as kp
    >>> loss = kp.losses.Triplet(margin=1.0, reduction=None)
    >>> values = loss([0, 0, 1], [[0.0], [3.0], [3.5]])
    >>> [round(float(v), 5) for v in values]  # 3 - 3.5 + 1, 3 - 0.5 + 1, no positive
    [0.5, 3.5, 0.0]

    Raises:
        TypeError: if `margin` is not a number.
        ValueError: if `margin` is not positive; if `mining` or `distance` is not one of those above; if
            the shapes do not match; if labels are neither class ids nor one-hot.

    Source: Schroff, Kalenichenko and Philbin, [FaceNet: A Unified Embedding for Face Recognition and
    Clustering](https://arxiv.org/abs/1503.03832), CVPR 2015: `mining="semi_hard"` and `distance="squared"` of
    rows of unit length, with a margin of 0.2. Hermans, Beyer and Leibe, [In Defense of the Triplet Loss for
    Person Re-Identification](https://arxiv.org/abs/1703.07737), 2017: `mining="hard"` or `"all"`, and plain
    distances. TensorFlow Addons' `TripletSemiHardLoss` has these defaults, and divides once, by the number of
    all positive pairs. pytorch-metric-learning's `TripletMarginLoss` scales rows to unit length, and divides
    by the number of triplets with a loss above 0.
    """

    formula = staticmethod(triplet)

    def __init__(
        self,
        margin: float = 1.0,
        mining: Mining = "semi_hard",
        distance: Distance = "euclidean",
        reduction: Reduction = "sum_over_batch_size",
        name: str = "triplet",
        dtype: DType = None,
    ):
        super().__init__(name, reduction, dtype, margin=margin, mining=mining, distance=distance)


def _hard(distances, _, pairs, margin):
    farthest = ops.max(ops.where(pairs.positive, distances, 0), axis=1, initial=0.0)
    return ops.relu(farthest - _closest(distances, pairs) + margin)


def _semi_hard(distances, reach, pairs, margin):
    by_distance = ops.argsort(_or_infinity(pairs.negative, distances), axis=1)
    last = ops.relu(count(pairs.negative) - 1)[:, None]
    not_farther, _ = _counts(reach, distances, pairs)
    chosen = ops.take_along_axis(by_distance, ops.where(not_farther < last, not_farther, last), axis=1)
    negative = ops.take_along_axis(distances, chosen, axis=1)
    return mean_where(ops.relu(distances - negative + margin), pairs.positive)


def _all(distances, _, pairs, margin):
    # In the sum over the triplets with a loss above 0, each distance counts once for each of these triplets
    # that it is in. The distance to the closest negative is subtracted from all, so that no digits are lost.
    negatives, positives = _counts(distances + margin, distances, pairs)
    negatives, positives = (ops.cast(n, distances.dtype) for n in (negatives, positives))
    beyond = distances - ops.stop_gradient(_closest(distances, pairs))[:, None]
    triplets = count(pairs.positive, distances.dtype) * count(pairs.negative, distances.dtype)
    triplets_of_row: Any = _numerics.at_least_one(triplets)
    share = 1.0 / triplets_of_row[:, None]
    total = ops.sum(negatives * share * (beyond + margin), axis=1) - ops.sum(
        positives * share * beyond, axis=1
    )
    return ops.relu(total)


def _counts(reach, distances, pairs):
    """For each positive, how many negatives are no farther than its reach; and for each negative, how
    many positives reach it; 0 for all others. Triplets are counted in a sorted list, not enumerated."""
    negatives, positives = _or_infinity(pairs.negative, distances), _or_infinity(pairs.positive, reach)
    both = ops.concatenate([negatives, positives], axis=1)  # of equal distances the negatives come first
    order = ops.argsort(both, axis=1)
    place = ops.argsort(order, axis=1)
    negative, positive = (ops.cast(mask, "int32") for mask in (pairs.negative, pairs.positive))
    none = ops.zeros_like(negative)

    def up_to_here(members):
        counted = ops.cumsum(ops.take_along_axis(members, order, axis=1), axis=1)
        return ops.split(ops.take_along_axis(counted, place, axis=1), 2, axis=1)

    _, reached = up_to_here(ops.concatenate([negative, none], axis=1))
    before, _ = up_to_here(ops.concatenate([none, positive], axis=1))
    reaching = ops.sum(positive, axis=1)[:, None] - before
    return reached * positive, reaching * negative


def _closest(distances, pairs):
    """The distance of each anchor to the closest negative; 0 where there is none."""
    closest = ops.min(_or_infinity(pairs.negative, distances), axis=1, initial=float("inf"))
    return ops.where(ops.any(pairs.negative, axis=1), closest, 0)


def _or_infinity(chosen, values):
    return ops.where(chosen, values, _numerics.constant(float("inf"), values))
