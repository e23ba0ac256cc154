"""How differently a model answers for groups of its examples."""

from functools import partial

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._keras import replicas
from keras_penalties._serialization import register
from keras_penalties._types import DType, Reduction, Tensor, Tensors
from keras_penalties.losses._class_ids import class_labels
from keras_penalties.losses._declared import declared
from keras_penalties.losses._pairs import BatchLoss, Pairs


@register
@declared(class_labels, length=partial(_checks.number, above=0.0))
def min_diff(y_true: Tensors, y_pred: Tensors, length: float = 0.1) -> Tensor:
    """How far the groups of a batch are apart: one value per row, as `MinDiff`."""
    pairs = Pairs(y_true, y_pred, "min_diff")
    itself = _numerics.keep(ops.ones_like(pairs.own[:, 0]), pairs.own_kept)
    same, other = (ops.cast(chosen, itself.dtype) for chosen in (pairs.positive, pairs.negative))
    kernel = ops.exp(-ops.square(pairs.distances() / length))
    size = itself + ops.sum(same, axis=1)
    (sizes, kept), _, _ = replicas.gather(size, itself)
    sizes = ops.where(kept > 0, sizes, 1)  # replicas are padded with zeros
    groups = ops.sum(kept / sizes)
    within = (itself + ops.sum(same * kernel, axis=1)) / _numerics.at_least_one(size)
    between = ops.sum(other * kernel / sizes[None], axis=1) / _numerics.at_least_one(groups - 1.0)
    share = itself * 2.0 * ops.sum(kept) / (_numerics.at_least_one(groups) * _numerics.at_least_one(size))
    return ops.where(groups > 1.5, share * (within - between), 0)


@register
class MinDiff(BatchLoss):
    r"""The squared maximum mean discrepancy between the groups of a batch: equal answers for all of them.

    $$\frac{1}{G(G - 1)}\sum_{g \ne h} \operatorname{MMD}^2(g, h),\qquad
    \operatorname{MMD}^2(g, h) = \bar k_{gg} - 2\,\bar k_{gh} + \bar k_{hh},\qquad
    k_{ij} = e^{-\lVert x_i - x_j\rVert_2^2/L^2}$$

    \(\bar k_{gh}\) is the mean of the kernel over all pairs of a row of group \(g\) and a row of group \(h\),
    pairs of a row with itself included. So the value is never negative, and 0 if the groups have the same
    rows. The labels are the groups, such as a protected attribute or a domain, not what the model predicts:
    pass the loss in `hidden_losses` to `keras_penalties.models.HiddenOutputs`, and the groups by
    `hidden_targets`. For two groups it is the loss of TensorFlow Model Remediation.

    Args:
        length: \(L\), a finite float > 0, in the units of `y_pred`. Rows much farther apart do not affect
            each other. Use 0.1 for probabilities; otherwise start with the standard deviation of `y_pred`.
            Defaults to 0.1.
        reduction: as in Keras; the default is the mean over the batch.
        name: the loss's name.
        dtype: as in Keras.

    Shapes: `y_true` holds the groups: ids below `2**31`, `(batch,)` or `(batch, 1)`, or one-hot,
    `(batch, groups)`. `y_pred` holds predictions, logits or a hidden layer, `(batch, features)`. Without
    reduction the result is `(batch,)`, without units: what each row adds to the value, times the number of
    rows, which may be negative. A batch with one group has the value 0. A row without a group (a negative
    id, or a one-hot row of zeros) counts as one whose sample weight is zero. Such rows, and those that a mask
    drops, are in no group; other weights multiply what a row adds.

    Example:

    >>> import keras_penalties as kp
    >>> groups, answers = [1, 1, 0], [[0.5], [0.5], [0.6]]
    >>> round(float(kp.losses.MinDiff(length=0.1)(groups, answers)), 6)  # 1 - 2 / e + 1
    1.264241
    >>> round(float(kp.losses.MinDiff()([1, 0, 0], [[0.3], [0.3], [0.3]])), 6)
    0.0

    Raises:
        TypeError: if `length` is not a number.
        ValueError: if `length` is not positive; if the shapes do not match; if labels are neither ids nor
            one-hot.

    Source: Prost, Qian, Chen, Chi, Chen and Beutel, [Toward a Better Trade-off between Performance and
    Fairness with Kernel-based Distribution Matching](https://arxiv.org/abs/1910.11779), 2019; `MMDLoss` of
    TensorFlow Model Remediation, whose kernel has no factor of 2 below the square, and whose sample weights
    count for both rows of a pair. `keras_penalties.regularizers.MMD` compares two batches instead, without
    pairs of a row with itself.
    """

    formula = staticmethod(min_diff)

    def __init__(
        self,
        length: float = 0.1,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "min_diff",
        dtype: DType = None,
    ):
        super().__init__(name, reduction, dtype, length=length)
