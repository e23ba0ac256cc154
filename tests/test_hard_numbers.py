"""Numbers that float32 makes hard: value and slope, eager and compiled, against the formula in float64.

Each was wrong once, as users found out. The contract tests find their like by search; here are the numbers
themselves, so that they can be looked up and compared between backends.
"""

import numpy as np
import pytest

import keras_penalties as kp
from keras_penalties._keras.masks import set_keras_mask
from tests.support.hard_numbers import NUMBERS
from tests.support.helpers import BACKEND, tensor, to_numpy


def value_and_slope(function, x, compiled):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def both(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = function(x)
            return value, tape.gradient(value, x)

        both = tf.function(both, jit_compile=True) if compiled else both
    elif BACKEND == "jax":
        import jax

        both = jax.value_and_grad(function)
        both = jax.jit(both) if compiled else both
    else:

        def both(x):
            x = x.detach().clone().requires_grad_()
            value = function(x)
            value.backward()
            return value, x.grad

    value, slope = both(tensor(x))
    return float(value), to_numpy(slope)


# Keras compiles nothing on PyTorch by default, and compiling these would take minutes there.
by_compiler = pytest.param(True, marks=pytest.mark.backends("tensorflow", "jax"))


@pytest.mark.parametrize("compiled", [False, by_compiler], ids=["eager", "compiled"])
@pytest.mark.every_case
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
def test_number(number, compiled):
    value, slope = value_and_slope(number.function, number.x, compiled)
    np.testing.assert_allclose(value, number.value, rtol=number.tolerance, atol=1e-6)
    assert np.all(np.isfinite(slope))
    if number.slope is not None:
        largest = np.abs(number.slope).max()
        np.testing.assert_allclose(
            np.float64(slope), number.slope, rtol=1e-4, atol=max(1e-4 * largest, 1e-12 * (largest > 0))
        )


def test_a_row_that_the_mask_drops_may_hold_nan():
    loss = kp.losses.Center(2)
    y, x = np.array([0, 1], "int32"), tensor([[1.0, 0.0], [np.nan, 0.0]], "float32")
    set_keras_mask(x, tensor([True, False]))
    centers = loss.next_state(y, x, centers=np.zeros((2, 2), "float32"))["centers"]
    np.testing.assert_allclose(to_numpy(centers), [[0.25, 0.0], [0.0, 0.0]])
