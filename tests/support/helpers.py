"""What tests need of a backend or of another process."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import strategies as st
from keras import ops

from keras_penalties._keras.precision import float64 as float64

ROOT = Path(__file__).resolve().parent.parent.parent
KERAS = tuple(int(part) for part in keras.__version__.split(".")[:2])
BACKEND = keras.backend.backend()
MASKS_AFTER_RECURRENT_LAYERS = pytest.mark.skipif(
    KERAS >= (3, 16), reason="from Keras 3.16 on, recurrent layers pass no mask on"
)


def tensor(x, dtype=None):
    """`x` as a tensor of the backend; half precisions are rounded from float32."""
    x = ops.convert_to_tensor(np.asarray(x))
    return x if dtype is None else ops.cast(x, dtype)


def dtype_of(x) -> str:
    return keras.backend.standardize_dtype(x.dtype)


def name_of(x) -> str:
    """The name of a loss, a function or a class, for the name of a test: the same in each process."""
    return getattr(x, "name", None) or getattr(x, "__name__", None) or str(x)


def to_numpy(x):
    """`x` as an array that NumPy knows: bfloat16 becomes float32."""
    if dtype_of(x) == "bfloat16":
        x = ops.cast(x, "float32")
    return np.asarray(ops.convert_to_numpy(x))


def gradient(fn, x, *others, scale=1.0):
    """The gradient of `scale * fn(x, *others)`, a scalar, with respect to `x`, as an array.

    By the backend's own differentiation. JAX compiles it once for each `fn` and shape, so that it saves
    time to pass one `fn` in many tests, with what varies in `others`.
    """
    x = x if keras.ops.is_tensor(x) else tensor(x)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = scale * fn(x, *others)
        return to_numpy(tape.gradient(value, x))
    if BACKEND == "jax":
        return to_numpy(_jax_gradient(fn)(x, scale, *others))
    x = x.detach().clone().requires_grad_()
    (scale * fn(x, *others)).backward()
    return to_numpy(x.grad)


@functools.lru_cache(256)
def _jax_gradient(fn):
    import jax

    return jax.jit(jax.grad(lambda x, scale, *others: scale * fn(x, *others)))


def compiled(fn):
    """`fn` as a training step has it on JAX, where every operation by itself is compiled for every shape."""
    if BACKEND != "jax":
        return fn
    import jax

    return jax.jit(fn)


def sizes(least, most):
    """How many there are: any number, and on JAX, which compiles for each, the ends alone."""
    return st.sampled_from([least, most]) if BACKEND == "jax" else st.integers(least, most)


def finite_differences(fn, x, step=1e-6):
    """The gradient of the scalar NumPy function `fn` at `x`, by central differences in float64."""
    x = np.asarray(x, "float64")
    result = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[i] += step
        below[i] -= step
        result[i] = (fn(above) - fn(below)) / (2 * step)
    return result


def fresh_process(code, *, backend=BACKEND, cwd=None, path=(ROOT,), stdin=None):
    """What a new Python prints that runs `code`, with `path` in front of its import path."""
    inherited = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != "."]
    inherited = [p for p in inherited if Path(p).resolve() != ROOT]
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join([*map(str, path), *inherited]),
    }
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return run.stdout.strip()
