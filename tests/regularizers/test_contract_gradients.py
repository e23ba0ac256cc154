"""Every penalty: its gradient is that of the published formula."""

import numpy as np
import pytest

from tests.contracts import PENALTIES
from tests.support.helpers import finite_differences, float64, gradient

pytestmark = pytest.mark.parametrize("case", PENALTIES, ids=lambda case: case.name)
SHAPES = [(5, 3), (2, 4), (3, 2, 2), (2, 2, 2, 2)]


def test_equals_finite_differences_of_the_reference(case):
    for shape in SHAPES:
        x = case.draw(shape, dtype="float64")
        with float64():
            exact = gradient(case.measure, x)
        assert exact.dtype == np.float64
        numeric = finite_differences(case.expected, x)
        np.testing.assert_allclose(exact, numeric, rtol=1e-6, atol=1e-8, err_msg=str(shape))


def test_equals_finite_differences_under_a_mask(case):
    x, mask = (
        case.draw((4, 3, 2), dtype="float64"),
        np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], bool),
    )
    with float64():
        exact = gradient(case.measure, x, mask)
    numeric = finite_differences(lambda x: case.expected(x, mask), x)
    np.testing.assert_allclose(exact, numeric, rtol=1e-6, atol=1e-8)


def test_of_float32_equals_that_of_float64(case):
    x = case.draw((6, 4))
    with float64():
        exact = gradient(case.measure, x.astype("float64"))
    np.testing.assert_allclose(gradient(case.measure, x), exact, rtol=1e-4, atol=1e-6)
