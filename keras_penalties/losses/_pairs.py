"""The base of losses that compare each row of a batch with the others."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_penalties import _numerics
from keras_penalties._distances import distances, distances_and_reach
from keras_penalties._keras import replicas
from keras_penalties._keras.masks import get_keras_mask, set_keras_mask
from keras_penalties._types import Tensor, Tensors
from keras_penalties.losses._loss import FormulaLoss, without_masked


class BatchLoss(FormulaLoss):
    """A loss of embeddings `(batch, features)` and of labels that say which rows belong to one class.

    A row whose sample weight is 0, such as one without a label, is in no pair.
    """

    def __call__(self, y_true: Tensors, y_pred: Tensors, sample_weight: Tensors = None) -> Tensor:
        if sample_weight is None:
            return super().__call__(y_true, y_pred)
        y_true, y_pred = without_masked(y_true, y_pred, self.dtype)
        return _OfWeightedRows(self, sample_weight)(y_true, y_pred, sample_weight)


class _OfWeightedRows(keras.losses.Loss):
    """A loss of a batch with the weights of one step, which Keras does not pass to `call`. Rows of weight 0
    are masked only inside `call`: Keras divides by the number of rows that its mask keeps, of any weight."""

    def __init__(self, loss, sample_weight):
        super().__init__(name=loss.name, reduction=loss.reduction, dtype=loss.dtype)
        self.loss, self.sample_weight = loss, sample_weight

    def call(self, y_true, y_pred):
        mask, weight = get_keras_mask(y_pred), ops.reshape(ops.convert_to_tensor(self.sample_weight), (-1,))
        kept = ops.broadcast_to(ops.not_equal(weight, 0), ops.shape(y_pred)[:1])
        if mask is not None and len(mask.shape) == 1:
            kept = kept & ops.cast(mask, "bool")
        y_pred = ops.copy(y_pred)
        set_keras_mask(y_pred, kept)
        return self.loss.call(y_true, y_pred)


def class_labels(y_true, y_pred, owner, **_):
    """Reject labels, a NumPy array, that are neither class ids nor one-hot rows."""
    numbers = y_true.astype("float64")
    if y_true.ndim == 2 and y_true.shape[1] > 1:
        if not (np.isin(numbers, (0, 1)).all() and (numbers.sum(axis=1) == 1).all()):
            raise ValueError(
                f"`y_true` of {owner} must be one-hot, a single 1 in each row, if it has more than one "
                f"column. Received rows with sums from {numbers.sum(axis=1).min():g} to "
                f"{numbers.sum(axis=1).max():g}, and values from {numbers.min():g} to "
                f"{numbers.max():g}. Pass integer class ids of shape (batch,)."
            )
    elif numbers.size and not (numbers == np.round(numbers)).all():
        raise ValueError(
            f"`y_true` of {owner} must hold integer class ids, or one-hot rows. Received values from "
            f"{numbers.min():g} to {numbers.max():g} that are not integers. Number the classes, for "
            "example with `np.unique(labels, return_inverse=True)[1]`."
        )
    elif numbers.size and np.abs(numbers).max() >= 2**24:
        raise ValueError(
            f"`y_true` of {owner} must hold class ids below 2**24, since Keras passes labels to a loss "
            f"as float32. Received: {np.abs(numbers).max():.0f}. Number the classes from 0, for "
            "example with `np.unique(labels, return_inverse=True)[1]`."
        )


class Pairs:
    """The rows of a batch as anchors, each compared with the rows of the whole batch, on all replicas.

    Rows that a Keras mask drops are in no pair.

    Attributes:
        own: the anchors, `(anchors, features)`, float32 at least.
        own_kept: which of the anchors count, or None if all do.
        rows: all rows, `(rows, features)`.
        kept: which of `rows` count, or None if all do.
        others: which rows are not the anchor itself, `(anchors, rows)`, as are the next two.
        positive: the other rows with the anchor's label.
        negative: the rows with another label.
    """

    def __init__(self, y_true, y_pred, owner):
        mask = get_keras_mask(y_pred)
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        check(y_true, y_pred, owner)
        self.own_kept = mask = None if mask is None or len(mask.shape) != 1 else ops.cast(mask, "bool")
        if not _numerics.is_float(y_pred.dtype):
            y_pred = ops.cast(y_pred, "float32")
        self.own = _numerics.keep(_numerics.accumulate(y_pred), mask)
        ids = class_ids(y_true)
        (self.rows, all_ids, *masks), self.kept, start = replicas.gather(
            self.own, ids, *([] if mask is None else [mask])
        )
        same = ops.equal(ids[:, None], all_ids[None, :])
        index = start + ops.arange(ops.shape(self.own)[0], dtype="int32")
        self.others = ops.not_equal(
            index[:, None], ops.arange(ops.shape(self.rows)[0], dtype="int32")[None, :]
        )
        if mask is not None:
            # The rows that pad uneven replicas are zeros, so they are dropped here too.
            (self.kept,) = masks
            self.others = self.others & mask[:, None]
        if self.kept is not None:
            self.others = self.others & self.kept[None, :]
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


def check(y_true, y_pred, owner):
    labels, shape = tuple(y_true.shape), tuple(y_pred.shape)
    if len(shape) != 2:
        raise ValueError(
            f"`y_pred` of {owner} must be embeddings of shape (batch, features). Received: shape {shape}. "
            "Put `keras.layers.Flatten()` or a global pooling layer before it."
        )
    if len(labels) not in (1, 2) or labels[-1:] == (None,) * (len(labels) - 1):
        raise ValueError(
            f"`y_true` of {owner} must be class ids of shape (batch,) or (batch, 1), or one-hot labels of "
            f"shape (batch, classes). Received: shape {labels}."
        )
    if None not in (labels[0], shape[0]) and labels[0] != shape[0]:
        raise ValueError(
            f"`y_true` of {owner} must have one label for each row of `y_pred`. Received: y_true of shape "
            f"{labels}, y_pred of shape {shape}."
        )


def class_ids(y_true):
    """The labels as one number per row."""
    one_hot = len(y_true.shape) == 2 and y_true.shape[1] > 1
    return ops.argmax(y_true, axis=1) if one_hot else ops.reshape(y_true, (-1,))


def mean_where(values, chosen):
    """For each anchor, the mean of `values` over the chosen rows; 0 if there are none."""
    counted: Any = _numerics.at_least_one(count(chosen, values.dtype))
    return ops.sum(ops.where(chosen, values, 0) / counted[:, None], axis=1)


def count(chosen, dtype="int32"):
    return ops.sum(ops.cast(chosen, dtype), axis=1)
