"""Every loss: right in float32 for predictions of any size, with a shared offset, and next to a masked
NaN."""

import numpy as np
import pytest

import keras_penalties as kp
from keras_penalties._keras.masks import set_keras_mask
from tests.losses import batch_cases
from tests.losses.batch_cases import BATCH_CASES
from tests.losses.cases import CASES, amplitudes, distances, logits
from tests.support.helpers import tensor, to_numpy
from tests.support.steps import OFFSETS, SIZES, assert_is_that_of_float64, mean, scaled, steps

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
by_batch_case = pytest.mark.parametrize("case", BATCH_CASES, ids=lambda case: case.name)
of_any_size = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.draw in (amplitudes, distances, logits)],
    ids=lambda case: case.name,
)


def of_predictions(case):
    """The mean of the loss as a function of the predictions, and its formula; one of each for a test."""

    def found(p, y):
        return mean(case.function(y, p, **case.options))

    def formula(p, y):
        return np.mean(case.reference(y, p))

    return found, formula


@of_any_size
def test_of_any_size(case):
    found, formula = of_predictions(case)
    y, p = case.draw(np.random.RandomState(0), 5)
    for size in SIZES:
        assert_is_that_of_float64(found, formula, scaled(p, size), y, about=f"size {size:g}")


@of_any_size
def test_with_a_shared_offset(case):
    found, formula = of_predictions(case)
    y, p = case.draw(np.random.RandomState(0), 5)
    for offset in OFFSETS:
        labels = y if case.draw is logits or case.draw is distances else np.round(10 * y) + offset
        shifted = np.round(10 * p) + (abs(offset) if case.draw is distances else offset)
        assert_is_that_of_float64(
            found, formula, shifted.astype("float32"), labels.astype("float32"), about=f"offset {offset:g}"
        )


@by_batch_case
def test_a_batch_of_any_size(case):
    found, formula = of_predictions(case)
    y, p = batch_cases.draw()
    for size in SIZES:
        # A difference of means of about 1.
        atol = 1e-6 if case.cls is kp.losses.MinDiff else 0.0
        assert_is_that_of_float64(found, formula, scaled(p, size), y, about=f"size {size:g}", atol=atol)


@by_batch_case
def test_a_batch_with_a_shared_offset(case):
    found, formula = of_predictions(case)
    y, p = batch_cases.draw()
    for offset in OFFSETS:
        shifted = (np.round(10 * p) + offset).astype("float32")
        # Of rows that all point in one direction the angles are rounding.
        if not case.cosine or abs(offset) < 1e5:
            assert_is_that_of_float64(found, formula, shifted, y, about=f"offset {offset:g}")


@pytest.mark.parametrize("size", [1e13, 1e17, 1e25])
def test_distances_that_cost_nothing_may_be_larger_than_their_squares(size):
    """Rows of two classes that are far apart, and rows of one class that are close."""
    y = np.array([0, 0, 1, 1])
    p = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]) * size
    (case,) = (case for case in BATCH_CASES if case.cls is kp.losses.PairwiseContrastive and not case.options)
    found, formula = of_predictions(case)
    assert_is_that_of_float64(found, formula, p.astype("float32"), y)


@by_case
@pytest.mark.parametrize("spoiled", [np.nan, np.inf, -np.inf])
def test_what_a_mask_drops_may_be_anything(case, spoiled):
    y, p = case.draw(np.random.RandomState(0), 6)
    kept = np.arange(6) % 2 == 0
    expected = case.reference(y, p)[kept].mean()
    y[~kept], p[~kept] = spoiled, spoiled
    loss = case.make()

    def found(p, y):
        p = p * 1.0
        set_keras_mask(p, tensor(kept))
        return loss(y, p)

    for mode, step in steps(found).items():
        value, slope = (to_numpy(t) for t in step(tensor(p), tensor(y)))
        np.testing.assert_allclose(value, expected, rtol=2e-5, err_msg=mode)
        assert np.isfinite(slope).all() and (slope[~kept] == 0).all()
