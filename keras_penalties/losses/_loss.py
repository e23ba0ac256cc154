"""The base classes and checks of the losses of this package."""

from collections.abc import Callable
from typing import Any, Self

import keras
from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._keras.losses import dtype_policy_of
from keras_penalties._keras.masks import get_keras_mask, set_keras_mask
from keras_penalties._serialization import made
from keras_penalties._types import Config, DType, Reduction, Tensor, Tensors
from keras_penalties._value_checks import ChecksFirstBatch
from keras_penalties.losses._declared import declaration


class OwnLoss(keras.losses.Loss, ChecksFirstBatch):
    """A loss of this package: it checks the values of its first batch, and saves its `dtype`."""

    def refuse(self, y_true: Tensors, y_pred: Tensors) -> None:
        """Raise if labels and predictions, NumPy arrays, are not valid. Called once for each loss, where
        values are known: outside a compiled step."""

    def get_config(self) -> Config:
        dtype = keras.saving.serialize_keras_object(dtype_policy_of(self))
        return {**super().get_config(), "dtype": dtype}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return made(cls, config, "dtype")


class FormulaLoss(OwnLoss):
    """A loss that is one function of `(y_true, y_pred)` and of its own arguments.

    A subclass names the function in `formula`, and passes the function's arguments to `__init__`, which
    checks them as the function does and stores them as attributes.
    """

    formula: Callable

    def __init__(
        self, name: str, reduction: Reduction = "sum_over_batch_size", dtype: DType = None, **arguments: Any
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        for argument, value in self._declaration.checked(type(self).__name__, arguments).items():
            setattr(self, argument, value)

    def __call__(self, y_true: Tensors, y_pred: Tensors, sample_weight: Tensors = None) -> Tensor:
        return super().__call__(*without_masked(y_true, y_pred, self.dtype), sample_weight)

    @property
    def _declaration(self):
        return declaration(type(self).formula)

    @property
    def arguments(self) -> dict:
        """The arguments of the function."""
        return {name: getattr(self, name) for name in self._declaration.arguments}

    def call(self, y_true: Tensors, y_pred: Tensors) -> Tensor:
        arguments = self._declaration.checked(type(self).__name__, self.arguments)
        values = self._declaration.function(y_true, y_pred, **arguments)
        self.check_first_batch((y_true, y_pred))
        return values

    @property
    def refuses_values(self) -> bool:
        return self._declaration.values is not None

    def refuse(self, y_true: Tensors, y_pred: Tensors) -> None:
        if self.refuses_values:
            self._declaration.values(y_true, y_pred, type(self).__name__, **self.arguments)

    def get_config(self) -> Config:
        return {**super().get_config(), **self.arguments}


class WithLabels(keras.losses.Loss):
    """One call of a loss, which gets the labels in their own dtype, and its state, if it has one.

    Keras casts labels to the dtype of the loss, which rounds class ids, and passes no state.
    """

    def __init__(self, loss, y_true, **state):
        super().__init__(name=loss.name, reduction=loss.reduction, dtype=loss.dtype)
        self.loss, self.y_true, self.state = loss, y_true, state

    def call(self, y_true, y_pred):
        return self.loss.call(self.y_true, y_pred, **self.state)


def without_masked(y_true, y_pred, dtype):
    """Labels and predictions with zeros where a Keras mask drops them: Keras multiplies the loss's values by
    the mask, and 0 times NaN is NaN. The mask stays with the predictions."""
    mask = get_keras_mask(y_pred)
    if mask is None:
        return y_true, y_pred
    mask = ops.cast(mask, "bool")
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred, dtype=dtype)
    if _checks.shapes_agree(tuple(y_true.shape)[: len(mask.shape)], tuple(mask.shape)):
        y_true = _numerics.keep(y_true, mask)
    y_pred = _numerics.keep(y_pred, mask)
    set_keras_mask(y_pred, mask)
    return y_true, y_pred


ONE_HOT = "Make integer labels one-hot with `keras.utils.to_categorical`."


def pair(y_true, y_pred, owner, hint="Give each output of the model its label."):
    """Both in the dtype of the predictions, float32 at least; reject labels of another shape."""
    y_pred = ops.convert_to_tensor(y_pred)
    if not _numerics.is_float(y_pred.dtype):
        y_pred = ops.cast(y_pred, "float32")
    y_pred = _numerics.accumulate(y_pred)
    y_true = ops.cast(ops.convert_to_tensor(y_true), y_pred.dtype)
    a, b = tuple(y_true.shape), tuple(y_pred.shape)
    if not _checks.shapes_agree(a, b):
        raise ValueError(
            f"`y_true` of {owner} must have the shape of `y_pred`. Received: y_true of shape {a}, "
            f"y_pred of shape {b}. {hint}"
        )
    return y_true, y_pred


def mean_of_outputs(values):
    """The mean over the last axis: one value per row."""
    return ops.sum(values, axis=-1) / values.shape[-1] if len(values.shape) > 1 else values


def probabilities(y_true, y_pred, owner, from_logits=False, **_):
    """Reject labels outside [0, 1], and predictions outside [0, 1] unless they are logits."""
    _checks.unit_interval(y_true, "y_true", owner, ONE_HOT)
    if not from_logits:
        _checks.unit_interval(y_pred, "y_pred", owner, "For logits, set `from_logits=True`.")
