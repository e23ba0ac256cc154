"""float64, which JAX rounds to float32 unless it is told otherwise."""

import contextlib

import keras


@contextlib.contextmanager
def float64():
    """Where float64 stays float64. JAX has one setting for the whole process: `jax_enable_x64`."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)
