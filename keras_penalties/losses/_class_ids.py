"""Labels that say which class or group a row belongs to: ids or one-hot rows, or no label at all."""

import warnings

import keras
import numpy as np
from keras import ops

from keras_penalties import _numerics
from keras_penalties._keras import scopes

NUMBER = "Number the classes from 0, for example with `np.unique(labels, return_inverse=True)[1]`."


# The first integer that a dtype may round; for integers, the first that does not fit into those of JAX.
FIRST_ROUNDED = {"bfloat16": 2**8, "float16": 2**11, "float32": 2**24, "float64": 2**24}
FIRST_TOO_LARGE = 2**31


def class_labels(y_true, y_pred, owner, **_):
    """Reject labels, a NumPy array, that are neither class ids nor one-hot rows."""
    numbers = y_true.astype("float64")
    if y_true.ndim == 2 and y_true.shape[1] > 1:
        sums = numbers.sum(axis=1)
        if not (np.isin(numbers, (0, 1)).all() and (sums <= 1).all()):
            raise ValueError(
                f"`y_true` of {owner} must be one-hot if it has more than one column: a single 1 in each "
                f"row, or zeros without a label. Received rows with sums from {sums.min():g} to "
                f"{sums.max():g}, and values from {numbers.min():g} to {numbers.max():g}. Pass integer class "
                "ids of shape (batch,)."
            )
    elif numbers.size and not (numbers == np.round(numbers)).all():
        raise ValueError(
            f"`y_true` of {owner} must hold integer class ids, or one-hot rows. Received values from "
            f"{numbers.min():g} to {numbers.max():g} that are not integers. {NUMBER}"
        )
    elif numbers.size and np.abs(numbers).max() >= _bound(y_true.dtype):
        instead = "Pass them as integers. " if _bound(y_true.dtype) < FIRST_TOO_LARGE else ""
        raise ValueError(
            f"`y_true` of {owner} must hold class ids below {_bound(y_true.dtype)} if they are of dtype "
            f"{y_true.dtype}, since larger ones may be rounded. Received: {np.abs(numbers).max():.0f}. "
            f"{instead}{NUMBER}"
        )
    else:
        warn_about_signs(numbers, "y_true", owner)


def _bound(dtype):
    """The smallest class id that is not accepted in labels of this dtype."""
    if not _numerics.is_float(dtype):
        return FIRST_TOO_LARGE
    # `fit` casts labels of floats to `floatx`.
    kinds = (keras.backend.standardize_dtype(dtype), keras.config.floatx())
    return min(FIRST_ROUNDED[kind] for kind in kinds)


def warn_about_signs(ids, argument, owner):
    """Warn if -1 and 1 look like the names of two classes."""
    if set(np.unique(ids)) == {-1, 1}:
        warnings.warn(
            f"`{argument}` of {owner} holds only the ids -1 and 1. A negative id means that the row has no "
            f"label, so only the rows of class 1 count. If -1 is a class: {NUMBER}",
            stacklevel=2,
        )


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


def warn_about_rounding(y_true, owner):
    """Warn if class ids may have been rounded before they came here, in a compiled step, where values are
    unknown: Keras casts the labels of a function to `floatx`."""
    dtype = keras.backend.standardize_dtype(y_true.dtype)
    if FIRST_ROUNDED.get(dtype, 2**24) < 2**24 and len(y_true.shape) < 2 and scopes.as_numpy(y_true) is None:
        warnings.warn(
            f"`y_true` of {owner} is {dtype}, which rounds class ids from {FIRST_ROUNDED[dtype]} on. Pass "
            "integer labels, and the class of the loss instead of its function.",
            stacklevel=2,
        )


def class_ids(y_true):
    """One number per row: the id of its class, or a negative number if it has no label. Integers stay
    integers."""
    if len(y_true.shape) == 2 and y_true.shape[1] > 1:
        labelled = ops.any(ops.cast(y_true, "bool"), axis=1)
        return ops.where(labelled, ops.cast(ops.argmax(y_true, axis=1), "int32"), -1)
    ids = ops.reshape(y_true, (-1,))
    kept = _numerics.is_float(ids.dtype) or keras.backend.standardize_dtype(ids.dtype) == "int64"
    return ids if kept else ops.cast(ids, "int32")


def weights_of_labelled(ids, sample_weight):
    """The weights of rows, 0 for those without a label."""
    labelled = ops.cast(ids >= 0, "float32")
    if sample_weight is None:
        return labelled
    sample_weight = ops.convert_to_tensor(sample_weight)
    labelled = ops.reshape(labelled, (-1,) + (1,) * (len(sample_weight.shape) - 1))
    return ops.multiply(sample_weight, labelled)
