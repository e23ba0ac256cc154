"""float64, which JAX rounds to float32 unless it is told otherwise."""

import contextlib
from typing import Any

import keras


@contextlib.contextmanager
def float64():
    """Where float64 stays float64. JAX has one setting for the whole process: `jax_enable_x64`."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    config: Any = jax.config
    before = config.jax_enable_x64
    config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        config.update("jax_enable_x64", before)


def rounds_float64() -> bool:
    """Whether operations of Keras itself round float64 to float32, as `ops.mean` does on JAX and torch (in
    keras/src/backend/jax/numpy.py and keras/src/backend/torch/numpy.py)."""
    return keras.backend.backend() != "tensorflow"
