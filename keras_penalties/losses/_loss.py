"""What the losses of this package share."""

import inspect
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._keras import scopes
from keras_penalties._keras.masks import get_keras_mask, set_keras_mask
from keras_penalties._serialization import made


class FormulaLoss(keras.losses.Loss):
    """A loss that is one function of `(y_true, y_pred)` and of its own arguments.

    A subclass names the function in `formula`, keeps the function's arguments as attributes, and says
    in `refuse` which labels and predictions cannot be meant. Values are checked where they can be
    seen: once for each loss, on the first batch that it gets outside of a compiled step.
    """

    formula: Callable
    _checked = False

    def __init__(self, name, reduction="sum_over_batch_size", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().__call__(*without_masked(y_true, y_pred, self.dtype), sample_weight)

    @property
    def arguments(self) -> dict:
        names = list(inspect.signature(type(self).formula).parameters)[2:]
        return {name: getattr(self, name) for name in names}

    def call(self, y_true, y_pred):
        self.check_once(y_true, y_pred)
        return type(self).formula(y_true, y_pred, **self.arguments)

    def check_once(self, y_true, y_pred):
        values = None if self._checked else [scopes.as_numpy(y_true), scopes.as_numpy(y_pred)]
        if values is not None and all(v is not None for v in values):
            self.refuse(*values)
            self._checked = True

    def refuse(self, y_true, y_pred):
        """Raise if the values, as NumPy arrays, cannot be meant."""

    def get_config(self):
        dtype = keras.saving.serialize_keras_object(self._dtype_policy)
        return {**super().get_config(), **self.arguments, "dtype": dtype}

    @classmethod
    def from_config(cls, config):
        return made(cls, config, "dtype")


def without_masked(y_true, y_pred, dtype):
    """Labels and predictions with zeros where a Keras mask drops them: Keras multiplies what the loss gives
    by the mask, and 0 times NaN is NaN. The mask stays with the predictions."""
    mask = get_keras_mask(y_pred)
    if mask is None:
        return y_true, y_pred
    mask = ops.cast(mask, "bool")
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred, dtype=dtype)
    if _checks.same_shape(tuple(y_true.shape)[: len(mask.shape)], tuple(mask.shape)):
        y_true = _numerics.keep(y_true, mask)
    y_pred = _numerics.keep(y_pred, mask)
    set_keras_mask(y_pred, mask)
    return y_true, y_pred


ONE_HOT = "Make integer labels one-hot with `keras.utils.to_categorical`."


def pair(y_true, y_pred, owner, hint="Give each output of the model its label."):
    """Both in the predictions' type, float32 at least; refuse labels of another shape."""
    y_pred = ops.convert_to_tensor(y_pred)
    if not _numerics.is_float(y_pred.dtype):
        y_pred = ops.cast(y_pred, "float32")
    y_pred = _numerics.accumulate(y_pred)
    y_true = ops.cast(ops.convert_to_tensor(y_true), y_pred.dtype)
    a, b = tuple(y_true.shape), tuple(y_pred.shape)
    if not _checks.same_shape(a, b):
        raise ValueError(
            f"`y_true` of {owner} must have the shape of `y_pred`. Received: y_true of shape {a}, "
            f"y_pred of shape {b}. {hint}"
        )
    return y_true, y_pred


def mean_of_outputs(values):
    """The mean over the last axis: one value a row."""
    return ops.sum(values, axis=-1) / values.shape[-1] if len(values.shape) > 1 else values


def refuse_outside(values, argument, owner, hint):
    """Refuse values that are not between 0 and 1."""
    if values.size and not (values.min() >= -1e-5 and values.max() <= 1 + 1e-5):
        raise ValueError(
            f"`{argument}` of {owner} must be between 0 and 1. Received values from {np.min(values):g} "
            f"to {np.max(values):g}. {hint}"
        )
