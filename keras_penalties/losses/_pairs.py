"""The base of losses that compare each row of a batch with the others."""

from typing import Any

from keras import ops

from keras_penalties import _numerics
from keras_penalties._distances import distances, distances_and_reach
from keras_penalties._keras import replicas
from keras_penalties._keras.masks import get_keras_mask
from keras_penalties._types import Tensor, Tensors
from keras_penalties.losses._class_ids import check, class_ids, warn_about_rounding, weights_of_labelled
from keras_penalties.losses._loss import FormulaLoss, WithLabels, without_masked


class BatchLoss(FormulaLoss):
    """A loss of embeddings `(batch, features)` and of labels that say which rows belong to one class.

    A row without a label counts as one whose sample weight is 0: it is in no pair.
    """

    def __call__(self, y_true: Tensors, y_pred: Tensors, sample_weight: Tensors = None) -> Tensor:
        y_true, y_pred = without_masked(y_true, y_pred, self.dtype)
        labels, rows = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        check(labels, rows, type(self).__name__)
        self.check_first_batch((y_true, rows))
        ids = class_ids(labels)
        # Keras does not pass weights to `call`. A mask would change the number of rows that it divides by.
        weights = weights_of_labelled(ids, sample_weight)
        ids = ops.where(ops.reshape(weights, (-1,)) == 0, -1, ids)
        return WithLabels(self, ids)(ids, y_pred, weights)


class Pairs:
    """The rows of a batch as anchors, each compared with the rows of the whole batch, on all replicas.

    Rows without a label, and rows that a Keras mask drops, are in no pair.

    Attributes:
        own: the anchors, `(anchors, features)`, float32 at least.
        own_kept: which of the anchors count.
        rows: all rows, `(rows, features)`.
        kept: which of `rows` count.
        others: which rows are not the anchor itself, `(anchors, rows)`, as are the next two.
        positive: the other rows with the anchor's label.
        negative: the rows with another label.
    """

    def __init__(self, y_true, y_pred, owner):
        mask = get_keras_mask(y_pred)
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        check(y_true, y_pred, owner)
        warn_about_rounding(y_true, owner)
        ids = class_ids(y_true)
        if mask is not None and len(mask.shape) == 1:
            ids = ops.where(ops.cast(mask, "bool"), ids, -1)
        if not _numerics.is_float(y_pred.dtype):
            y_pred = ops.cast(y_pred, "float32")
        self.own_kept = ids >= 0
        self.own = _numerics.keep(_numerics.accumulate(y_pred), self.own_kept)
        (self.rows, all_ids), real, start = replicas.gather(self.own, ids)
        self.kept = all_ids >= 0
        if real is not None:  # the rows that pad uneven replicas are zeros
            self.kept = self.kept & real
        same = ops.equal(ids[:, None], all_ids[None, :])
        index = start + ops.arange(ops.shape(self.own)[0], dtype="int32")
        self.others = ops.not_equal(
            index[:, None], ops.arange(ops.shape(self.rows)[0], dtype="int32")[None, :]
        )
        self.others = self.others & self.own_kept[:, None] & self.kept[None, :]
        self.positive = self.others & same
        self.negative = self.others & ops.logical_not(same)

    def distances(self):
        """The Euclidean distance of each anchor to each row."""
        return distances(self.own, self.rows, self.own_kept, self.kept)

    def distances_and_reach(self):
        """The distances, and for each the largest one that may be equal to it apart from rounding."""
        return distances_and_reach(self.own, self.rows, self.own_kept, self.kept)

    def cosines(self, temperature):
        """The cosine of the angle between each anchor and each row, divided by a temperature; 0 if one
        of them is zero."""
        units = _numerics.unit(self.rows)
        own = units if self.own is self.rows else _numerics.unit(self.own)
        return (own / temperature) @ ops.transpose(units)


def mean_where(values, chosen):
    """For each anchor, the mean of `values` over the chosen rows; 0 if there are none."""
    counted: Any = _numerics.at_least_one(count(chosen, values.dtype))
    return ops.sum(ops.where(chosen, values, 0) / counted[:, None], axis=1)


def count(chosen, dtype="int32"):
    return ops.sum(ops.cast(chosen, dtype), axis=1)
