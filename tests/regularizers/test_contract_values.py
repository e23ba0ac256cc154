"""Every penalty: its value is the published formula, whatever the batch looks like."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from tests.contracts import PENALTIES
from tests.support.helpers import dtype_of, float64, tensor

pytestmark = pytest.mark.parametrize("case", PENALTIES, ids=lambda case: case.name)
few_seeds = st.integers(0, 10_000)


def test_equals_the_reference_at_every_rank(case):
    for shape in case.shapes:
        x = case.draw(shape)
        np.testing.assert_allclose(
            float(case.measure(x)), case.expected(x), rtol=2e-5, atol=1e-6, err_msg=str(shape)
        )


@given(seed=few_seeds, shape=st.sampled_from([(1, 3), (4, 5), (5, 4), (3, 4, 2)]))
def test_equals_the_reference_anywhere(case, seed, shape):
    x = case.draw(shape, seed)
    np.testing.assert_allclose(float(case.make().measure(x)), case.expected(x), rtol=1e-4, atol=1e-6)


def test_is_a_float32_scalar(case):
    for dtype in ("float32", "float16", "bfloat16"):
        value = case.make().measure(tensor(case.draw((4, 3)), dtype))
        assert tuple(value.shape) == ()
        assert dtype_of(value) == "float32", dtype


def test_is_float64_for_float64(case):
    with float64():
        x = case.draw((4, 3, 3), dtype="float64")
        value = case.make().measure(x)
        assert dtype_of(value) == "float64"
        np.testing.assert_allclose(float(value), case.expected(x), rtol=1e-12)


def test_is_a_float32_scalar_of_a_list_of_numbers(case):
    rows = [[0.25, 0.5], [0.5, 0.125]]
    value = case.make().measure(rows if case.takes((2, 2)) else [rows])
    assert (tuple(value.shape), dtype_of(value)) == ((), "float32")


def test_leaves_the_strength_out(case):
    x = case.draw((4, 3))
    one, other = (case.make(**{k: c * v for k, v in case.strengths.items()}) for c in (1, 7))
    ratio = 7.0 if case.in_measure else 1.0
    np.testing.assert_allclose(float(other.measure(x)), ratio * float(one.measure(x)), rtol=1e-6)


@given(seed=few_seeds, scale=st.sampled_from([1e-3, 1.0, 30.0]), offset=st.sampled_from([0.0, 5.0]))
def test_is_never_negative(case, seed, scale, offset):
    for shape in ((2, 5), (5, 2)):
        x = case.draw(shape, seed) * np.float32(scale) + offset
        if case.accepts(x) and not case.signed:
            assert float(case.make().measure(x)) >= 0.0


@given(seed=few_seeds)
def test_the_order_of_the_batch_does_not_matter(case, seed):
    x = case.draw((5, 4, 2), seed)
    shuffled = x[np.random.default_rng(seed).permutation(len(x))]
    value = float(case.make().measure(x))
    np.testing.assert_allclose(float(case.make().measure(shuffled)), value, rtol=2e-5, atol=1e-6)


@given(seed=few_seeds, times=st.integers(2, 3), shape=st.sampled_from([(4, 3, 2), (2, 5, 3), (3, 1, 4)]))
def test_a_batch_given_twice_counts_once(case, seed, times, shape):
    x = case.draw(shape, seed)
    several = np.concatenate([x] * times)
    expected = case.expected(several)
    np.testing.assert_allclose(float(case.measure(several)), expected, rtol=2e-5, atol=1e-6)
    if case.of_a_batch:
        np.testing.assert_allclose(expected, case.expected(x), rtol=1e-10, atol=1e-12)


def test_does_not_change_its_input(case):
    x = case.draw((4, 3))
    before, given_tensor = x.copy(), tensor(x)
    case.make().measure(x)
    case.make().measure(given_tensor)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(ops.convert_to_numpy(given_tensor), before)
