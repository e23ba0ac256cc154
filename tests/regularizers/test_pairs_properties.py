"""Every penalty that compares several tensors: what holds for any batch, drawn by hypothesis."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from tests.contracts_pairs import SEVERAL_TENSORS
from tests.regularizers.test_contract_masks import masks
from tests.regularizers.test_pairs import KINDS
from tests.support.helpers import sizes, tensor

by_case = pytest.mark.parametrize("case", SEVERAL_TENSORS, ids=lambda case: case.name)
seeds = st.integers(0, 10_000)
ROWS, STEPS, FEATURES = 4, 3, 3
CLOSE = {"rtol": 5e-5, "atol": 1e-5}


def drawn(case, seed, shape=(ROWS, STEPS, FEATURES)):
    return case.draw(shape, seed)


def slopes(case, xs, masks=None, scale=1.0):
    """The gradient of each tensor into which one goes."""
    return [case.slope(i, xs, masks, scale) for i in case.reached]


@by_case
@given(mask=masks((ROWS, STEPS)), other=masks((ROWS, STEPS)), seed=seeds)
def test_masked_equals_trimmed(case, mask, other, seed):
    xs, rest = drawn(case, seed), case.count - 1
    for kept in ([mask] * case.count, [mask, *[other] * rest], [mask, *[None] * rest]):
        np.testing.assert_allclose(case.measured(xs, kept), case.reference(xs, kept), **CLOSE)


@by_case
@given(mask=masks((ROWS,)), seed=seeds)
def test_examples_that_a_mask_drops_are_not_there(case, mask, seed):
    xs = drawn(case, seed)
    trimmed = [x[mask] for x in xs]
    np.testing.assert_allclose(case.measured(xs, [mask] * case.count), case.measured(trimmed), **CLOSE)


@by_case
@given(
    rows=sizes(0, 3),
    steps=sizes(0, 4),
    padding=st.sampled_from([0.0, 1e30, np.inf, np.nan]),
    seed=seeds,
)
def test_padding_changes_nothing(case, rows, steps, padding, seed):
    short, long = drawn(case, seed), []
    mask = np.zeros((ROWS + rows, STEPS + steps), bool)
    mask[:ROWS, :STEPS] = True
    for x in short:
        long.append(np.full((*mask.shape, FEATURES), padding, "float32"))
        long[-1][:ROWS, :STEPS] = x
    every = [mask] * case.count
    np.testing.assert_allclose(case.measured(long, every), case.measured(short), **CLOSE)
    for of_long, of_short in zip(slopes(case, long, every), slopes(case, short), strict=True):
        np.testing.assert_allclose(of_long[:ROWS, :STEPS], of_short, rtol=2e-4, atol=1e-5)
        assert np.all(of_long[~mask] == 0.0)


@by_case
@given(seed=seeds, shape=st.sampled_from([(6, 3), (3, 5), (ROWS, STEPS, FEATURES)]))
def test_the_order_of_the_batch_does_not_matter(case, seed, shape):
    xs = drawn(case, seed, shape)
    orders = [np.random.default_rng(seed + i).permutation(shape[0]) for i in range(case.count)]
    shuffled = [x[orders[0] if case.paired else order] for x, order in zip(xs, orders, strict=True)]
    np.testing.assert_allclose(case.measured(shuffled), case.measured(xs), **CLOSE)


@by_case
@given(seed=seeds, times=st.integers(2, 3), shape=st.sampled_from([(4, 3), (3, 5), (2, 3, 2)]))
def test_a_batch_given_twice_counts_once(case, seed, times, shape):
    xs = drawn(case, seed, shape)
    several = [np.concatenate([x] * times) for x in xs]
    expected = case.reference(several)
    np.testing.assert_allclose(case.measured(several), expected, **CLOSE)
    if case.of_a_batch:
        np.testing.assert_allclose(expected, case.reference(xs), rtol=1e-10, atol=1e-12)


CORNERS = {**KINDS, "large": lambda random, shape: 1e4 * random.normal(size=shape)}


@by_case
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", CORNERS)
def test_value_and_gradient_are_finite_in_the_corners(case, kind, dtype):
    if kind == "large" and not case.large:
        pytest.skip("is not made for such values")
    for shape in ((1, 4), (4, 3), (3, 5), (2, 2, 3)):
        random = np.random.default_rng(0)
        xs = [np.asarray(CORNERS[kind](random, case.fit(shape)), "float32") for _ in range(case.count)]
        xs = [tensor(x, dtype) for x in xs]
        assert np.isfinite(case.measured(xs)), shape
        # The gradient is rounded to the input's type at the end: scaled so that the type can hold it.
        largest = max(float(np.abs(s).max()) for s in slopes(case, [ops.cast(x, "float32") for x in xs]))
        for slope in slopes(case, xs, scale=1.0 / largest if largest > 1.0 else 1.0):
            assert np.all(np.isfinite(slope)), shape


@by_case
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_an_empty_mask_gives_zero(case, dtype):
    xs, mask = [tensor(x, dtype) for x in drawn(case, 0)], np.zeros((ROWS, STEPS), bool)
    every = [mask] * case.count
    assert case.measured(xs, every) == 0.0
    assert all(np.all(slope == 0.0) for slope in slopes(case, xs, every))
