"""Checks of the return values of formulas that a user has written."""

import numbers
from typing import Any

import keras
from keras import ops

from keras_penalties import _numerics


def floats(value, source, expected) -> Any:
    """`value` as a tensor of floats.

    Args:
        value: the return value.
        source: the name in messages of what returned it: "`elements(x)` of L2".
        expected: what it must return: "one value for each element of `x`".
    """
    if value is None:
        raise TypeError(f"{source} must return {expected}. Received: None. Does it end in a `return`?")
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        value = float(value)
    try:
        tensor: Any = value if ops.is_tensor(value) else ops.convert_to_tensor(value)
    except Exception as error:
        raise TypeError(
            f"{source} must return {expected}, as a tensor. Received: {value!r:.80} (of type "
            f"{type(value).__name__})."
        ) from error
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if not _numerics.is_float(dtype):
        raise TypeError(
            f"{source} must return {expected}, in floats. Received: dtype={dtype}. "
            "Comparisons, counts and rounded numbers have no gradient, so training could not change them."
        )
    return tensor


def floats_of_shape(value, shape, source, expected, like) -> Any:
    """`value` as a tensor of this shape, as from `ops.shape`, in the dtype of `like`."""
    value = floats(value, source, expected)
    received = tuple(value.shape)
    known = tuple(None if ops.is_tensor(size) else size for size in shape)
    if len(received) != len(known) or not all(map(_fits, received, known)):
        raise ValueError(f"{source} must return {expected}: shape {known}. Received: shape {received}.")
    value = value if value.dtype == like.dtype else ops.cast(value, like.dtype)
    # TensorFlow knows some sizes only when the step runs: a wrong number of values raises an error then.
    return ops.reshape(value, shape) if None in known else value


def _fits(size, expected):
    # A known size where that of `x` is unknown cannot come from `x`: it would fit some batches by chance.
    return size is None or size == expected


def scalar(value, source, parts, like) -> Any:
    """`value` as a scalar, or as a dict of scalars with the keys `parts`, in the dtype of `like`."""
    if not parts and not isinstance(value, dict):
        return floats_of_shape(value, (), source, "a scalar", like)
    if not isinstance(value, dict) or set(value) != set(parts):
        expected = f"a dict with the keys {parts}, its `parts`" if parts else "a scalar, as it has no `parts`"
        received = f"a dict with the keys {list(value)}" if isinstance(value, dict) else type(value).__name__
        raise ValueError(f"{source} must return {expected}. Received: {received}.")
    return {
        part: floats_of_shape(v, (), f"'{part}' of {source}", "a scalar", like) for part, v in value.items()
    }
