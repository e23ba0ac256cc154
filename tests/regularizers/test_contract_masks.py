"""Every penalty: what a mask drops counts for nothing, in the value and in the gradient."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from tests.contracts import PENALTIES
from tests.support.helpers import gradient, sizes, tensor

pytestmark = pytest.mark.parametrize("case", PENALTIES, ids=lambda case: case.name)
BATCH, STEPS, FEATURES = 4, 5, 3


def masks(shape=(BATCH, STEPS)):
    """Masks that keep something."""
    cells = st.lists(st.booleans(), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    return cells.filter(any).map(lambda kept: np.array(kept).reshape(shape))


@given(mask=masks(), seed=st.integers(0, 1000))
def test_masked_equals_trimmed(case, mask, seed):
    x = case.draw((BATCH, STEPS, FEATURES), seed)
    value = float(case.measure(x, mask))
    np.testing.assert_allclose(value, case.expected(x, mask), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("padding", [0.0, 1e30, np.inf, -np.inf, np.nan])
def test_padding_changes_nothing(case, padding):
    short = case.draw((3, 4, FEATURES))
    rows = np.moveaxis(short, case.axis, -1)
    long = np.full((5, 9, FEATURES), padding, "float32")
    long[:3, :4] = rows
    mask = np.zeros((5, 9), bool)
    mask[:3, :4] = True
    long = case.arrange(long)
    values = float(case.measure(long, mask)), float(case.measure(short))
    np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-6 if case.signed else 0.0)

    of_short = np.moveaxis(gradient(case.measure, short), case.axis, -1)
    of_long = np.moveaxis(gradient(case.measure, long, mask), case.axis, -1)
    np.testing.assert_allclose(of_long[:3, :4], of_short, rtol=2e-5, atol=1e-6)
    assert np.all(of_long[~mask] == 0.0)


@given(rows=sizes(0, 3), steps=sizes(0, 4), seed=st.integers(0, 1000))
def test_padding_of_any_size_changes_nothing(case, rows, steps, seed):
    short = case.draw((BATCH, STEPS, FEATURES), seed)
    mask = np.zeros((BATCH + rows, STEPS + steps), bool)
    mask[:BATCH, :STEPS] = True
    long = np.full((*mask.shape, FEATURES), np.nan, "float32")
    long[:BATCH, :STEPS] = np.moveaxis(short, case.axis, -1)
    values = float(case.measure(case.arrange(long), mask)), float(case.measure(short))
    np.testing.assert_allclose(*values, rtol=2e-5, atol=1e-6)


def test_a_mask_may_have_any_prefix_of_the_shape(case):
    shape = (BATCH, 3, 2, FEATURES)
    x = case.draw(shape)
    for rank in (1, 2, 3):
        mask = np.random.default_rng(rank).uniform(size=shape[:rank]) < 0.6
        mask.flat[0], mask.flat[-1] = True, False
        value = float(case.measure(x, mask))
        np.testing.assert_allclose(value, case.expected(x, mask), rtol=1e-4, atol=1e-6)


def test_a_mask_of_examples_alone(case):
    mask = np.array([True, False, True, True, False])
    for shape in [(5, FEATURES)] + [(5,)] * ((6,) in case.shapes):
        x = case.draw(shape)
        np.testing.assert_allclose(float(case.measure(x, mask)), case.expected(x[mask]), rtol=1e-5)


def test_a_mask_may_be_of_numbers(case):
    x, mask = case.draw((BATCH, STEPS, FEATURES)), np.arange(BATCH * STEPS).reshape(BATCH, STEPS) % 3 > 0
    expected = case.expected(x, mask)
    for dtype in ("int32", "float32"):
        np.testing.assert_allclose(float(case.measure(x, mask.astype(dtype))), expected, rtol=1e-4)


def test_a_mask_that_keeps_everything_changes_nothing(case):
    x = case.draw((BATCH, STEPS, FEATURES))
    masked = float(case.make().measure(x, np.ones((BATCH, STEPS), bool)))
    np.testing.assert_allclose(masked, float(case.make().measure(x)), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("fill", ["activations", "nan"])
def test_a_mask_that_keeps_nothing_gives_zero(case, fill, dtype):
    x = case.draw((BATCH, STEPS, FEATURES))
    x = tensor(x if fill == "activations" else np.full_like(x, np.nan), dtype)
    for mask in (np.zeros((BATCH, STEPS), bool), np.zeros(BATCH, bool)):
        assert float(case.measure(x, mask)) == 0.0
        assert np.all(gradient(case.measure, x, mask) == 0.0)


def test_half_precision_under_a_mask(case):
    x, mask = tensor(case.draw((BATCH, STEPS, FEATURES)), "float16"), np.eye(BATCH, STEPS, dtype=bool)
    expected = case.expected(ops.convert_to_numpy(x), mask)
    np.testing.assert_allclose(float(case.measure(x, mask)), expected, rtol=1e-4, atol=1e-6)
