"""The mask that Keras keeps with a tensor (Keras: `src/backend/common/masking.py`)."""

from typing import Any

from keras.src import backend


def get_keras_mask(x) -> Any:
    """The mask of `x`, or None."""
    return backend.get_keras_mask(x)


def set_keras_mask(x, mask):
    """Keep `mask` with `x`."""
    backend.set_keras_mask(x, mask)
