"""What measures logits: an entry of -inf is a probability of 0, whatever else the row holds."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import keras_penalties as kp
from tests.losses import cases as formulas
from tests.support import references_catalogue as catalogue
from tests.support.helpers import tensor, to_numpy
from tests.support.steps import assert_is_that_of_float64, mean, steps

R, L = kp.regularizers, kp.losses
ROWS, CLASSES = 3, 4

PENALTIES = {
    "Entropy": (R.Entropy(0.1, from_logits=True), catalogue.entropy, {"from_logits": True}),
    "Confidence": (R.Confidence(0.1, from_logits=True), catalogue.confidence, {"from_logits": True}),
    "ZLoss": (R.ZLoss(0.1), catalogue.z_loss, {}),
    "LoadBalance": (R.LoadBalance(0.1, top_k=2), catalogue.load_balance, {"top_k": 2}),
}


FUNCTIONS = {
    "Confusion": (L.confusion, lambda y, z: formulas.confusion(y, formulas.softmax(z))),
    "LogConfusion": (L.log_confusion, formulas.log_confusion_of_logits),
    "CategoricalCrossentropy": (L.categorical_crossentropy, formulas.cross_entropy_of_logits),
}
MEASURES = {name: penalty.measure for name, (penalty, _, _) in PENALTIES.items()}
MEANS = {
    name: lambda z, y, function=function: mean(function(y, z, from_logits=True))
    for name, (function, _) in FUNCTIONS.items()
}
patterns = st.lists(
    st.integers(0, 2**CLASSES - 2), min_size=ROWS, max_size=ROWS
)  # one entry at least is kept
offsets = st.sampled_from([0.0, 1e4, -1e4, 1e7, -1e7])


def logits(pattern, offset, seed):
    """Whole numbers, exact in float32 even with an offset, and -inf where a bit of the pattern is set."""
    z = np.random.default_rng(seed).integers(-3, 4, size=(ROWS, CLASSES)).astype("float64") + offset
    never = np.array([[bits >> i & 1 for i in range(CLASSES)] for bits in pattern], bool)
    z[never] = -np.inf
    return z.astype("float32"), never


def assert_no_slope(fn, never, *arrays):
    for step in steps(fn).values():
        _, slope = step(*map(tensor, arrays))
        assert (to_numpy(slope)[never] == 0.0).all()


@pytest.mark.parametrize("name", PENALTIES)
@given(pattern=patterns, offset=offsets, seed=st.integers(0, 100))
@example(pattern=[14, 7, 0], offset=0.0, seed=0)  # rows with a single entry
@example(pattern=[0, 0, 0], offset=-1e7, seed=0)
def test_penalties(name, pattern, offset, seed):
    z, never = logits(pattern, offset, seed)
    _, formula, options = PENALTIES[name]
    assert_is_that_of_float64(MEASURES[name], lambda z: formula(z, **options), z, about=str(z), atol=1e-6)
    assert_no_slope(MEASURES[name], never, z)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(pattern=patterns, offset=offsets, seed=st.integers(0, 100))
@example(pattern=[12, 3, 0], offset=0.0, seed=0)
@example(pattern=[0, 0, 0], offset=-1e7, seed=0)
def test_losses(name, pattern, offset, seed):
    z, never = logits(pattern, offset, seed)
    # The label is a class that has a probability, and not the only one: such a loss would be infinite.
    y = np.zeros_like(z)
    for row, kept in zip(y, ~never, strict=True):
        row[np.flatnonzero(kept)[seed % kept.sum()]] = 1.0
    assume(name == "Confusion" or ((~never).sum(axis=1) > 1).all())
    formula = FUNCTIONS[name][1]
    assert_is_that_of_float64(
        MEANS[name],
        lambda z, y: np.mean([formula(a, b) for a, b in zip(y, z, strict=True)]),
        z,
        y,
        about=f"{z} {y}",
        atol=1e-6,
    )
    assert_no_slope(MEANS[name], never, z, y)


def test_the_numbers_of_one_certain_row():
    z = np.array([[0.0, -np.inf]], "float32")
    for measure, expected in ((MEASURES["Entropy"], 0.0), (MEASURES["Confidence"], math.log(2.0))):
        for step in steps(measure).values():
            value, slope = (to_numpy(t) for t in step(tensor(z)))
            np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-30)
            np.testing.assert_array_equal(slope, [[0.0, 0.0]])


@pytest.mark.parametrize("name", ["Entropy", "Confidence", "LoadBalance"])
def test_a_row_of_nothing_else_counts_as_uniform(name):
    z = np.array([[0.0, 1.0, 2.0, 3.0], [-np.inf] * 4], "float32")
    _, formula, options = PENALTIES[name]
    expected = formula(np.where(np.isinf(z), 0.0, z), **options)
    for step in steps(MEASURES[name]).values():
        value, slope = (to_numpy(t) for t in step(tensor(z)))
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        assert np.isfinite(slope).all() and (slope[1] == 0.0).all()


def test_attention_scores_that_a_causal_mask_cuts():
    """Each query with the keys up to its own: half of what the scores hold is -inf."""
    scores = np.random.default_rng(0).normal(size=(2, 3, 5, 5)).astype("float32")
    never = np.broadcast_to(np.triu(np.ones((5, 5), bool), 1), scores.shape)
    scores[never] = -np.inf
    for name in ("Entropy", "Confidence"):
        _, formula, options = PENALTIES[name]
        assert_is_that_of_float64(MEASURES[name], partial(formula, **options), scores, atol=1e-6)
        assert_no_slope(MEASURES[name], never, scores)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_in_half_precision(dtype):
    z, _ = logits([1, 6, 0], 0.0, 0)
    for name, (_, formula, options) in PENALTIES.items():
        np.testing.assert_allclose(
            float(MEASURES[name](tensor(z, dtype))), formula(z.astype("float64"), **options), rtol=1e-4
        )
