"""The losses between labels and hidden tensors that `compile` accepts."""

import functools
from typing import Any

import keras
from keras import ops, tree

from keras_penalties import _numerics, _returned, _serialization
from keras_penalties._keras.losses import mean_of_values, serialize_loss, with_same_rank
from keras_penalties._keras.masks import get_keras_mask
from keras_penalties._serialization import PACKAGE

REGISTER = "@keras.saving.register_keras_serializable(package='my_project')"


class FunctionLoss(keras.losses.Loss):
    """A function of `(y_true, y_pred)`, reduced and weighted as in Keras."""

    def __init__(self, function):
        super().__init__(name=function.__name__)
        self.function = function

    def __call__(self, y_true, y_pred, sample_weight=None):
        masks = [mask_of(y_pred)]
        # A function of this package gets class ids as integers, which `dtype` may round.
        labels = ops.convert_to_tensor if _package_of(self.function) == PACKAGE else self._converted
        y_true = y_true if y_true is None else tree.map_structure(labels, y_true)
        y_pred = tree.map_structure(self._converted, y_pred)
        values = self._converted(self.call(y_true, y_pred))
        masks.append(get_keras_mask(values))
        return mean_of_values(values, sample_weight, _in_common([m for m in masks if m is not None]))

    def call(self, y_true, y_pred):
        if ops.is_tensor(y_true) and ops.is_tensor(y_pred):
            y_true, y_pred = with_same_rank(y_true, y_pred)
        return returned_by(self.function, self.function(y_true, y_pred))

    def _converted(self, x):
        return x if x is None else ops.convert_to_tensor(x, dtype=self.dtype)


def mask_of(y_pred):
    """The mask of a tensor; for several, the intersection of their masks, if all have the same rank."""
    masks = [get_keras_mask(x) for x in tree.flatten(y_pred)]
    if any(mask is None or len(mask.shape) != len(masks[0].shape) for mask in masks):
        return None
    return _in_common(masks)


def _in_common(masks):
    return functools.reduce(ops.logical_and, masks) if masks else None


def returned_by(function, values):
    """The result of a user's loss function, as floats."""
    name = getattr(function, "__name__", type(function).__name__)
    return _returned.floats(values, f"The function `{name}`", "a scalar or one value for each example")


def mean_of_joint_loss(values, y_pred, sample_weight):
    """The result of a function of `(y_true, y_pred, hidden)`, reduced as Keras reduces a loss function."""
    return mean_of_values(_numerics.accumulate(values), sample_weight, mask_of(y_pred))


def as_loss(value, argument, names):
    """A Keras loss, its name, or a function of `(y_true, hidden)`, as a `keras.losses.Loss` that gets the
    hidden tensors `names`."""
    refuse_lambda(value, argument)
    try:
        loss = keras.losses.get(value)
    except (ValueError, TypeError):
        loss = None
    if not callable(loss):
        raise TypeError(
            f"`{argument}` must be a penalty, a list of penalties, a Keras loss or its name, or a "
            f"function of (y_true, hidden). Received: {value!r} (of type {type(value).__name__})."
        )
    loss: Any = loss if isinstance(loss, keras.losses.Loss) else FunctionLoss(loss)
    refuse_unreduced(loss, argument)
    if len(names) > 1 and compares_with_labels(loss):
        raise ValueError(
            f"`{argument}` is {loss.name}, which compares labels with one tensor, but the key names "
            f"{len(names)}. To compare tensors with each other, use a penalty such as "
            "`keras_penalties.regularizers.Hint(1.0)`, or a function:\n\n"
            f"    {REGISTER}\n    def difference(y_true, hidden):\n"
            "        return keras.losses.mean_squared_error(hidden[0], hidden[1])\n"
        )
    return loss


def compares_with_labels(loss):
    """Whether `loss` is from Keras or this package: each of these takes one array of labels, and a tensor."""
    function = loss.function if isinstance(loss, FunctionLoss) else type(loss).call
    return _package_of(function) in ("keras", PACKAGE)


def _package_of(function):
    return function.__module__.partition(".")[0]


def refuse_unreduced(losses, argument):
    """Reject a Keras loss that returns one value per example: training needs one number."""
    for loss in tree.flatten(losses):
        if isinstance(loss, keras.losses.Loss) and loss.reduction in (None, "none"):
            raise ValueError(
                f"`{argument}` has {type(loss).__name__} with reduction={loss.reduction!r}, which returns "
                "one value per example, but training needs one number. Use reduction='sum_over_batch_size' "
                "(the mean) or 'sum'."
            )


def check_joint_loss(value):
    refuse_lambda(value, "joint_loss")
    if value is not None and not callable(value):
        raise TypeError(
            "`joint_loss` must be a function of (y_true, y_pred, hidden). "
            f"Received: {value!r} (of type {type(value).__name__})."
        )


def refuse_lambda(value, argument):
    if getattr(value, "__name__", "") == "<lambda>":
        raise ValueError(
            f"`{argument}` is a lambda, which cannot be saved with the model. Define a function, and put "
            f"`{REGISTER}` above it."
        )


def serialize(value, argument):
    """`value` as JSON; an error for an unregistered function, which no file could restore."""
    if callable(value) and hasattr(value, "__name__"):
        builtin = getattr(value, "__module__", "").startswith("keras.")
        if not builtin and not _serialization.is_registered(value):
            raise ValueError(
                f"`{argument}` is the function `{value.__name__}`, which is not registered, so a "
                f"file with its name could not be loaded. Put `{REGISTER}` above it."
            )
    return serialize_loss(value)
