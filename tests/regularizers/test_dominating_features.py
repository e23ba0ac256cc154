"""Features of very different sizes: with few rows or many, a penalty of covariances keeps its digits.

With few rows it compares rows, where the entries on the diagonal have to be subtracted again. Where a few
features dominate, they are almost all of the sum.
"""

import functools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import keras_penalties as kp
from tests.support import hard_numbers
from tests.support.helpers import compiled, gradient, tensor

R = kp.regularizers
FORMULAS = {
    "DeCov": (R.DeCov(1.0), lambda x, other: hard_numbers.decov(x)),
    "Covariance": (R.Covariance(1.0), lambda x, other: hard_numbers.covariance(x)),
    "VICReg": (R.VICReg(1.0), hard_numbers.vicreg),
    "CORAL": (R.CORAL(1.0), hard_numbers.coral),
}
SHAPES = {"few rows": (8, 40), "many rows": (40, 8)}
OTHER = {kind: np.random.RandomState(1).randn(*shape).astype("float32") for kind, shape in SHAPES.items()}


@functools.cache
def measure(name, kind):
    """One function for each, so that it is compiled once."""
    penalty, other = FORMULAS[name][0], tensor(OTHER[kind])
    return compiled(lambda x: penalty.measure([x, other] if penalty.tensors == 2 else x))


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.every_case
@given(
    scaled=st.dictionaries(st.integers(0, 7), st.integers(-8, 8), max_size=3),
    seed=st.integers(0, 100),
    equal=st.booleans(),
)
@example(scaled={0: 4}, seed=0, equal=False)
@example(scaled={0: 8, 1: 8}, seed=0, equal=False)
@example(scaled={0: 8, 1: -8}, seed=0, equal=True)
def test_features_of_any_sizes(name, kind, scaled, seed, equal):
    """`scaled` says by which power of ten each of a few features is larger; two of them may be equal, too."""
    x = np.random.RandomState(seed).randn(*SHAPES[kind])
    for feature, exponent in scaled.items():
        x[:, feature] *= 10.0**exponent
    if equal:
        x[:, 6] = x[:, 7]
    x = x.astype("float32")
    expected = FORMULAS[name][1](np.float64(x), np.float64(OTHER[kind]))
    np.testing.assert_allclose(float(measure(name, kind)(tensor(x))), expected, rtol=1e-4)
    assert np.all(np.isfinite(gradient(measure(name, kind), x)))
