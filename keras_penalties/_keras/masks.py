"""The mask that Keras keeps with a tensor (Keras: `src/backend/common/masking.py`)."""

from typing import Any

from keras import ops

from keras_penalties._keras import private


def get_keras_mask(x) -> Any:
    """The mask of `x`, or None."""
    return private.find("keras.src.backend.get_keras_mask")(x)


def set_keras_mask(x, mask):
    """Keep `mask` with `x`."""
    private.find("keras.src.backend.set_keras_mask")(x, mask)


def with_masks(tensors: dict, masks: dict) -> dict:
    """`tensors`, each with the mask of the same name. A tensor with another mask is copied, so that nothing
    else gets the new one."""
    return {name: _with_mask(x, masks[name]) for name, x in tensors.items()}


def _with_mask(x, mask):
    if isinstance(x, (list, tuple)) or mask is get_keras_mask(x):
        return x
    x = ops.copy(x)
    set_keras_mask(x, mask)
    return x
