"""Distances that are equal: what depends on their order follows the rule despite rounding."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.losses.batch_cases import BATCH_CASES
from tests.support.helpers import compiled, tensor, to_numpy

by_distance = pytest.mark.parametrize(
    "case", [case for case in BATCH_CASES if not case.cosine], ids=lambda case: case.name
)
ROWS = 8
labels = st.lists(st.integers(0, 2), min_size=ROWS, max_size=ROWS)
whole_numbers = st.lists(
    st.tuples(st.integers(-2, 2), st.integers(-2, 2)).map(list), min_size=ROWS, max_size=ROWS
)
FUNCTIONS = {}


def values(case, y, p):
    """One value per row, as a compiled step has it where that is another one."""
    if case.name not in FUNCTIONS:
        FUNCTIONS[case.name] = compiled(lambda y, p: case.function(y, p, **case.options))
    return to_numpy(FUNCTIONS[case.name](tensor(np.array(y, "int32")), tensor(p)))


@by_distance
@given(labels, whole_numbers, st.sampled_from([1.0, 0.1, 0.7, 1e-3, 1e6, 1e-14, 1e14]))
@example([1, 1, 0, 1, 2, 2, 0, 0], [[v, 0] for v in (1, 2, -1, 0, -1, 0, 2, 2)], 1.0)
@example([0, 0, 1, 1, 2, 2, 0, 1], [[v, 0] for v in (0, 1, 0, 1, 0, 1, 2, 2)], 0.7)
def test_whole_numbers_in_any_unit(case, y, p, unit):
    """In multiples of a unit the same distance turns up between many rows."""
    p = np.array(p, "float32") * np.float32(unit)
    expected = case.reference(y, p)
    # A distance of 0 comes out as the root of what rounding leaves of its square, any other with a few digits
    # of float32 off.
    limit = 2e-3 * min(unit, 1.0) + 1e-5 + 2e-6 * unit
    np.testing.assert_allclose(values(case, y, p), expected, rtol=1e-3, atol=limit)


@by_distance
@given(labels, st.lists(st.integers(0, 3), min_size=ROWS, max_size=ROWS), st.integers(0, 1000))
def test_rows_that_come_several_times(case, y, chosen, seed):
    p = np.random.default_rng(seed).normal(size=(4, 3)).astype("float32")[chosen]
    np.testing.assert_allclose(values(case, y, p), case.reference(y, p), rtol=1e-3, atol=5e-3)


@by_distance
@given(labels, st.integers(0, 2**ROWS - 1), st.integers(0, 1000))
def test_rows_of_zeros_as_a_relu_leaves_them(case, y, bits, seed):
    p = np.maximum(np.random.default_rng(seed).normal(size=(ROWS, 3)), 0.0)
    p = (np.round(64 * p) / 64).astype("float32")  # distances are equal, or differ by more than rounding
    p *= np.array([[bits >> i & 1] for i in range(ROWS)], "float32")
    np.testing.assert_allclose(values(case, y, p), case.reference(y, p), rtol=1e-3, atol=5e-3)
