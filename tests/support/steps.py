"""Values and gradients as a training step has them, eager and compiled, compared with those in float64."""

import functools

import numpy as np
from keras import ops

from tests.support.helpers import BACKEND, float64, gradient, tensor, to_numpy

# What float32 holds with all its digits, and some room for the sums on the way to a mean.
LEAST, MOST = 1e-35, 1e35


@functools.lru_cache(256)
def steps(fn) -> dict:
    """By the name of the mode, a function to the value of `fn(x, *others)` and its gradient for `x`.

    On JAX, where all training is compiled, the eager mode is left out: it compiles each operation.
    """
    if BACKEND == "jax":
        import jax

        return {"compiled": jax.jit(jax.value_and_grad(fn))}
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def step(x, *others):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = fn(x, *others)
            return value, tape.gradient(value, x)

        return {"eager": step, "compiled": tf.function(step, jit_compile=True)}

    def step(x, *others):
        x = x.detach().clone().requires_grad_()
        value = fn(x, *others)
        value.backward()
        return value.detach(), x.grad

    return {"eager": step}


def assert_is_that_of_float64(fn, reference, x, *others, about="", rtol=1e-4, atol=0.0):
    """Value and gradient of the scalar `fn` in float32 are those in float64, where float32 can hold them.

    Args:
        fn: a function of tensors; its own gradient in float64, which other tests compare with finite
            differences, is what the gradient in float32 is compared with.
        reference: the same in NumPy's float64.
        x, *others: arrays of float32, and of integers.
        about: what the case is, for the message.
        atol: how far the value may be off besides, where it is a difference of larger ones.
    """
    wide = [a.astype("float64") if a.dtype == "float32" else a for a in (x, *others)]
    with np.errstate(all="ignore"):
        try:
            expected = reference(*wide)
        except OverflowError:
            return
    if not np.isfinite(expected) or abs(expected) > MOST or 0.0 < abs(expected) < LEAST:
        return
    with float64():
        slope = gradient(fn, *map(tensor, wide))
    # What the value changes by with the last digits of `x`: a gradient cannot be known better than that.
    known = (1e-5 * abs(expected) + atol) / np.abs(x[np.isfinite(x)]).max()
    for mode, step in steps(fn).items():
        value, found = (to_numpy(t) for t in step(*map(tensor, (x, *others))))
        message = f"{mode}, {about}"
        np.testing.assert_allclose(float(value), expected, rtol=rtol, atol=atol, err_msg=message)
        largest = np.abs(slope).max()
        if largest < MOST:
            scale = max(largest, LEAST)
            # Some processors take numbers below the smallest normal one for zero.
            limit = 10 * rtol + (known + np.finfo("float32").tiny) / scale
            message = f"gradient, {message}"
            np.testing.assert_allclose(found / scale, slope / scale, atol=limit, err_msg=message)


def scaled(x, size):
    """`x` with `size` as its largest absolute value, in float32."""
    x = np.asarray(x, "float64")
    return (x / np.abs(x).max() * size).astype("float32")


SIZES = [1e-30, 1e-25, 1e-19, 1e-12, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e10, 1e13, 1e17, 1e19, 1e25, 1e30, 1e37]
OFFSETS = [-1e6, -1e4, 1e4, 1e6]


def mean(values):
    """The mean that does not overflow before it divides."""
    return ops.sum(values / values.shape[0])
