"""Every penalty: right in float32 for inputs of any size, with a shared offset, and next to a masked NaN."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import keras_penalties as kp
from tests.contracts import PENALTIES, _case, normal
from tests.contracts_pairs import SEVERAL_TENSORS
from tests.support import references_catalogue as catalogue
from tests.support.helpers import tensor, to_numpy
from tests.support.steps import OFFSETS, SIZES, assert_is_that_of_float64, scaled, steps

R = kp.regularizers
MORE = [
    _case(R.TransformedL1, catalogue.transformed_l1, beta=1e-3),
    _case(R.TransformedL1, catalogue.transformed_l1, beta=1e3),
    _case(R.LogSparsity, catalogue.log_sparsity, eps=1e-3),
]
CASES = [*(case for case in PENALTIES if case.cls.__name__ in R.__all__), *MORE]
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
by_pair = pytest.mark.parametrize("case", SEVERAL_TENSORS, ids=lambda case: case.name)
# Differences of sums that are about 1: their last digits are those of 1.
OF_ABOUT_1 = (R.AttentionTransfer, R.CKA, R.MMD, R.Confidence, R.Entropy, R.KLSparsity, R.MarginalEntropy)
ATOL = dict.fromkeys(OF_ABOUT_1, 1e-6)
SHAPE = (4, 3)


def check(case, x, about):
    if case.accepts(x):
        assert_is_that_of_float64(
            case.measure, case.expected, case.arrange(x), about=about, atol=ATOL.get(case.cls, 0.0)
        )


@by_case
def test_of_any_size(case):
    x = case.inputs(np.random.default_rng(0), case.fit(SHAPE))
    # The phases of larger activations are beyond float32.
    for size in [s for s in SIZES if case.cls is not R.SIGReg or s <= 1.0]:
        check(case, scaled(x, size), f"size {size:g}")


@by_case
def test_with_a_shared_offset(case):
    x = np.round(10 * normal(np.random.default_rng(0), case.fit(SHAPE)))
    # At 1e6 float32 cannot say how the directions of these rows differ, and the phases of smaller ones.
    limit = {R.KoLeo: 1e5, R.SIGReg: 0.0}.get(case.cls, np.inf)
    for offset in [o for o in OFFSETS if abs(o) < limit]:
        check(case, (x + offset).astype("float32"), f"offset {offset:g}")


def of_tensors(case, i):
    """The measure of tensor `i` and the others, and its reference."""

    def reference(x, *others):
        return case.reference([*others[:i], x, *others[i:]])

    return lambda x, *others: case.measures[i](x, list(others)), reference


@by_pair
@pytest.mark.parametrize("which", [0, 1, 2])
def test_several_tensors_of_any_size(case, which):
    if which not in case.reached:
        pytest.skip("no gradient goes into that tensor")
    xs = np.random.default_rng(0).normal(size=(case.count, *case.fit(SHAPE)))
    measure, reference = of_tensors(case, which)
    for size in SIZES:
        xs = scaled(xs, size)
        x, others = xs[which], np.delete(xs, which, axis=0)
        about = f"size {size:g}"
        atol = 1e-6 if "temperature" in case.options else ATOL.get(case.cls, 0.0)
        assert_is_that_of_float64(measure, reference, x, *others, about=about, atol=atol)


@by_pair
def test_several_tensors_with_a_shared_offset(case):
    xs = np.round(10 * np.random.default_rng(0).normal(size=(case.count, *case.fit(SHAPE))))
    measure, reference = of_tensors(case, case.reached[0])
    for offset in OFFSETS:
        x, *others = (xs + offset).astype("float32")
        assert_is_that_of_float64(
            measure, reference, x, *others, about=f"offset {offset:g}", atol=ATOL.get(case.cls, 0.0)
        )


@by_case
@pytest.mark.parametrize("spoiled", [np.nan, np.inf, -np.inf])
def test_what_a_mask_drops_may_be_anything(case, spoiled):
    x = case.draw(SHAPE)
    mask = np.array([True, True, False, True])
    expected = case.expected(x, mask)
    x[2] = spoiled
    for mode, step in steps(case.measure).items():
        value, slope = (to_numpy(t) for t in step(tensor(x), tensor(mask)))
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6, err_msg=mode)
        assert np.isfinite(slope).all() and (slope[2] == 0).all()


@pytest.mark.parametrize("beta", [1e-3, 1.0, 1e3])
@hypothesis.given(exponent=st.floats(-6, 6), sign=st.sampled_from([-1, 1]))
def test_the_slope_of_transformed_l1(beta, exponent, sign):
    """It falls with the square of `x`, which the difference of two quotients cannot show."""
    x = np.array([sign * 10.0**exponent], "float32")
    size = abs(float(x[0]))
    penalty = R.TransformedL1(0.1, beta=beta)
    for step in steps(penalty.measure).values():
        value, slope = (to_numpy(t) for t in step(tensor(x)))
        np.testing.assert_allclose(value, (beta + 1) * size / (beta + size), rtol=1e-5)
        np.testing.assert_allclose(slope, [sign * (beta + 1) * beta / (beta + size) ** 2], rtol=1e-4)
