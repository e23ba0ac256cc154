"""Every penalty: finite and right in half precision, and on inputs where formulas tend to break."""

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_penalties.regularizers import MMD, KoLeo
from tests.contracts import PENALTIES
from tests.support.helpers import dtype_of, gradient, tensor, to_numpy

pytestmark = pytest.mark.parametrize("case", PENALTIES, ids=lambda case: case.name)
HALF = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])

DEGENERATE = {
    "zeros": lambda shape: np.zeros(shape),
    "ones": lambda shape: np.ones(shape),
    "tiny": lambda shape: np.full(shape, 1e-30),
    "large": lambda shape: np.random.default_rng(0).uniform(-1e4, 1e4, shape),
    "equal rows": lambda shape: np.broadcast_to(np.linspace(0.1, 0.9, shape[-1]), shape),
    "constant columns": lambda shape: np.broadcast_to([0.0, *np.linspace(0, 1, shape[-1] - 1)], shape),
    "one feature that lives": lambda shape: (
        np.random.default_rng(0).uniform(size=shape) * np.eye(shape[-1])[0]
    ),
    "at a target": lambda shape: np.full(shape, 0.05),
    "at another": lambda shape: np.full(shape, 0.3),
}


def around_300(case, shape, dtype):
    """Activations of 300, whose squares no float16 holds; as the type rounds them."""
    if not case.accepts(np.full(case.fit(shape), 300.0)):
        pytest.skip("is not made for such values")
    x = np.random.default_rng(1).normal(300.0, 40.0, case.fit(shape))
    return tensor(case.arrange(x).astype("float32"), dtype)


@HALF
def test_activations_of_300_in_half_precision(case, dtype):
    for shape in ((4, 8), (8, 4), (3, 5, 4)):
        x = around_300(case, shape, dtype)
        np.testing.assert_allclose(
            float(case.measure(x)), case.expected(to_numpy(x)), rtol=1e-4, err_msg=str(shape)
        )


@HALF
def test_gradient_at_300_in_half_precision(case, dtype):
    """The gradient is rounded once, at the end: it equals that of float32 wherever the type can hold it."""
    x = around_300(case, (4, 8), dtype)
    exact = gradient(case.measure, ops.cast(x, "float32"))
    largest = float(np.abs(exact).max())
    scale = 1.0 / largest if largest else 1.0
    rounded = gradient(case.measure, x, scale=scale)
    np.testing.assert_allclose(rounded, scale * exact, rtol=1e-2, atol=2e-3)


def test_many_small_numbers_add_up_in_half_precision(case):
    # Of pairs of rows there are many more than rows, and the reference loops over them.
    x = tensor(case.draw((256 if case.cls in (MMD, KoLeo) else 2048, 3)), "float16")
    np.testing.assert_allclose(float(case.measure(x)), case.expected(to_numpy(x)), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", DEGENERATE)
def test_degenerate_inputs_are_finite(case, kind):
    for shape in ((1, 3), (4, 3), (2, 5), (3, 4, 3)):
        x = np.asarray(DEGENERATE[kind](case.fit(shape)), "float32")
        if not case.accepts(x):
            continue
        x = case.arrange(x)
        value = float(case.measure(x))
        np.testing.assert_allclose(value, case.expected(x), rtol=1e-3, atol=1e-5, err_msg=str(shape))
        assert value >= 0.0 or case.signed
        assert np.all(np.isfinite(gradient(case.measure, x)))


@HALF
@pytest.mark.parametrize("kind", DEGENERATE)
def test_degenerate_inputs_are_finite_in_half_precision(case, kind, dtype):
    for shape in ((1, 3), (4, 3), (2, 5)):
        x = np.asarray(DEGENERATE[kind](case.fit(shape)), "float32")
        if not case.accepts(x):
            continue
        x = tensor(case.arrange(x), dtype)
        assert np.isfinite(float(case.measure(x))), shape
        largest = float(np.abs(gradient(case.measure, ops.cast(x, "float32"))).max())
        scale = 1.0 / largest if largest > 1.0 else 1.0
        assert np.all(np.isfinite(gradient(case.measure, x, scale=scale))), shape


def test_one_row(case):
    x = case.draw((1, 4))
    np.testing.assert_allclose(float(case.measure(x)), case.expected(x), rtol=1e-5, atol=1e-9)
    assert np.all(np.isfinite(gradient(case.measure, x)))


@given(number=st.floats(0, 1e4, width=32) | st.sampled_from([1e-45, 1e-38, 1e-7, 0.9999999, 1.0, 1.0000001]))
def test_any_constant_is_finite(case, number):
    x = np.full(case.fit((3, 4)), number, "float32")
    hypothesis.assume(case.accepts(x))
    x = case.arrange(x)
    value = float(case.measure(x))
    assert np.isfinite(value)
    assert value >= 0.0 or case.signed
    assert np.all(np.isfinite(gradient(case.measure, x)))


def test_no_rows(case):
    for shape in ((0, 3), (0, 2, 3), (2, 0, 3)):
        x = case.arrange(np.zeros(case.fit(shape), "float32"))
        assert float(case.measure(x)) == 0.0, shape
        assert gradient(case.measure, x).shape == x.shape


def test_the_gradient_keeps_the_type_of_the_input(case):
    assert gradient(case.measure, tensor(case.draw((4, 3)), "float16")).dtype == np.float16
    assert dtype_of(case.measure(tensor(case.draw((4, 3)), "float16"))) == "float32"
