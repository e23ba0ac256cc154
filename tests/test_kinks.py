"""Where a formula has a kink, its gradient there is 0 on every backend: exact zeros, ties, zero rows, bounds.

The tensors are made of a few numbers, so that hypothesis finds zeros, equal neighbours and equal rows by
itself. On both sides of a kink like that of |x| the slopes are opposite, and central differences of the
reference give 0.
Where a formula jumps, at a row of zeros that has no direction, or costs nothing on one side, as at a margin,
differences do not say what the gradient should be: those places have tests of their own.
"""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from keras import ops

import keras_penalties as kp
from tests.contracts import PENALTIES
from tests.contracts_pairs import SEVERAL_TENSORS
from tests.losses.batch_cases import BATCH_CASES
from tests.losses.cases import CASES
from tests.support.helpers import finite_differences, gradient, tensor, to_numpy

R, L = kp.regularizers, kp.losses
CLOSE = {"rtol": 2e-3, "atol": 2e-4}
STEP = 1e-5
NUMBERS = [0.0, 1.0, -1.0, 3.0]


def made_of(numbers, shape):
    return arrays.arrays(np.float32, shape, elements=st.sampled_from(numbers))


def by_name(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


# Which experts a router chooses, and which neighbour is the nearest, jumps at a tie.
SMOOTH_BUT_FOR_KINKS = [case for case in PENALTIES if case.cls not in (R.LoadBalance, R.KoLeo)]


@by_name(SMOOTH_BUT_FOR_KINKS)
@pytest.mark.every_case
@given(data=st.data())
def test_penalties_at_zeros_and_ties(case, data):
    shape = case.fit((2, 3))
    if case.inputs.__name__ == "normal":
        x = data.draw(made_of(NUMBERS, shape))
    else:  # rows of probabilities, in any order
        order = data.draw(st.lists(st.permutations([0.5, 0.25, 0.25]), min_size=2, max_size=2))
        x = np.array(order, "float32").reshape(shape)
    x = case.arrange(x)
    expected = finite_differences(case.expected, x, STEP)
    np.testing.assert_allclose(gradient(case.measure, x), expected, **CLOSE)


def jumps(case):
    """A constant feature correlates with nothing, and jumps to any correlation from there; equal rows have no
    direction, and jump to any angle."""
    return case.cls in (R.BarlowTwins, R.CKA) or (
        case.cls is R.RelationalKD and case.options.get("angle") != 0.0
    )


@by_name([case for case in SEVERAL_TENSORS if not jumps(case)])
@pytest.mark.every_case
@given(data=st.data())
def test_penalties_of_several_tensors_at_zeros_and_ties(case, data):
    xs = [data.draw(made_of(NUMBERS, case.fit((3, 2)))) for _ in range(case.count)]
    for i in case.reached:

        def value(x, i=i):
            return case.reference([x if k == i else other for k, other in enumerate(xs)])

        found, expected = case.slope(i, xs), finite_differences(value, xs[i], STEP)
        directed = np.any(xs[i] != 0, axis=tuple(range(1, xs[i].ndim))) | (not case.directional)
        assert np.all(found[~directed] == 0.0)
        np.testing.assert_allclose(found[directed], expected[directed], **CLOSE)


PREDICTIONS = {
    "probabilities": [0.125, 0.25, 0.5],
    "logits": NUMBERS,
    "amplitudes": [0.0, 0.25, 0.75],
    "distances": [0.0, 0.25, 3.0],
}


@by_name(CASES)
@pytest.mark.every_case
@given(data=st.data())
def test_losses_at_zeros_and_ties(case, data):
    y, p = case.draw(np.random.RandomState(data.draw(st.integers(0, 9))), 3)
    if case.draw.__name__ == "amplitudes":
        y = data.draw(made_of(PREDICTIONS["amplitudes"], y.shape))
    p = data.draw(made_of(PREDICTIONS[case.draw.__name__], p.shape))
    found = gradient(total_of(case), p, tensor(y))
    np.testing.assert_allclose(
        found, finite_differences(lambda p: case.reference(y, p).sum(), p, STEP), **CLOSE
    )


def total_of(case):
    """One function for each case, so that it is compiled once."""
    if case.name not in _TOTALS:
        _TOTALS[case.name] = lambda p, y: ops.sum(case.function(y, p, **case.options))
    return _TOTALS[case.name]


_TOTALS: dict = {}


# Which triplets count jumps at ties of distances: `tests/losses` has examples.
@by_name([case for case in BATCH_CASES if case.cls is not L.Triplet])
@pytest.mark.every_case
@given(y=st.lists(st.integers(0, 1), min_size=4, max_size=4), p=made_of([0.0, 1.0, -1.0], (4, 2)))
def test_losses_of_a_batch_at_zero_rows_and_equal_rows(case, y, p):
    y = np.array(y, "int32")
    found = gradient(total_of(case), p, tensor(y))
    expected = finite_differences(lambda p: case.reference(y, p).sum(), p, STEP)
    directed = np.any(p != 0, axis=1) | (not case.cosine)
    assert np.all(found[~directed] == 0.0)
    np.testing.assert_allclose(found[directed], expected[directed], **CLOSE)


@pytest.mark.parametrize("cls", [kp.layers.EuclideanDistance, kp.layers.CosineDistance])
@given(a=made_of([0.0, 1.0, -2.0], (4, 2)), b=made_of([0.0, 1.0, -2.0], (4, 2)))
def test_distances_at_zero_rows_and_equal_rows(cls, a, b):
    def reference(a):
        if cls is kp.layers.EuclideanDistance:
            return np.linalg.norm(a - b, axis=1).sum()
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return np.sum(1.0 - np.sum(a * b, axis=1) / np.where(lengths > 0, lengths, 1))

    found = gradient(TOTAL_DISTANCE[cls], a, tensor(b))
    expected = finite_differences(reference, a, STEP)
    directed = np.any(a != 0, axis=1) | (cls is kp.layers.EuclideanDistance)
    assert np.all(found[~directed] == 0.0)
    np.testing.assert_allclose(found[directed], expected[directed], **CLOSE)


def _total_distance(cls):
    layer = cls()
    return lambda a, b: ops.sum(layer([a, b]))


TOTAL_DISTANCE = {
    cls: _total_distance(cls) for cls in (kp.layers.EuclideanDistance, kp.layers.CosineDistance)
}


def test_a_constant_feature_of_barlow_twins_has_no_gradient():
    a, b = np.random.RandomState(0).randn(2, 5, 3).astype("float32")
    a[:, 1] = 2.0
    penalty = R.BarlowTwins(1.0)
    assert np.all(gradient(lambda a: penalty.measure([a, b]), a)[:, 1] == 0.0)


# At the edge of what costs nothing: a call, and the tensor whose gradient is 0 there.
EDGES = {
    "Excess": (R.Excess(1.0, threshold=1.0).measure, [[1.0, -1.0]]),
    "GradientPenalty": (R.GradientPenalty(1.0).measure, [[0.0, -1.0], [0.0, 0.0]]),
    "Variance": (R.Variance(1.0, target=1.0, eps=0.75).measure, [[0.5], [0.0], [-0.5]]),
    "GaussianKL, free bits": (
        lambda x: R.GaussianKL(1.0, free_bits=0.5).measure([x, ops.zeros_like(x)]),
        [[1.0, -1.0]],
    ),
    "GaussianKL, capacity": (
        lambda x: R.GaussianKL(1.0, capacity=1.0).measure([x, ops.zeros_like(x)]),
        [[1.0, -1.0]],
    ),
    "TripletMargin": (
        lambda x: R.TripletMargin(1.0).measure([x, ops.zeros_like(x), x - 2.0]),
        [[1.0]],
    ),
    "Contrastive": (lambda d: ops.sum(L.contrastive(np.zeros((1, 1), "float32"), d)), [[1.0]]),
    "PairwiseContrastive": (lambda x: ops.sum(L.pairwise_contrastive(np.arange(2), x)), [[0.0], [1.0]]),
    **{
        f"Triplet, {mining}": (
            lambda x, mining=mining: ops.sum(L.triplet(np.array([0, 0, 1, 1]), x, mining=mining)),
            [[0.0], [0.0], [1.0], [1.0]],
        )
        for mining in ("semi_hard", "hard", "all")
    },
    "CategoricalCrossentropy": (
        lambda q: ops.sum(L.categorical_crossentropy(np.array([[1.0, 0.0]], "float32"), q)),
        [[1e-7, 0.0]],
    ),
    "DualWeightedMSE": (
        lambda p: ops.sum(L.dual_weighted_mse(np.array([[0.5, 0.0]], "float32"), p)),
        [[0.5, 0.0]],
    ),
}


@pytest.mark.parametrize("name", EDGES)
def test_at_the_edge_of_what_costs_nothing(name):
    function, x = EDGES[name]
    assert np.all(gradient(function, np.array(x, "float32")) == 0.0)


def test_a_perturbation_that_ends_at_the_range_of_values():
    layer = kp.layers.UniversalPerturbation(0.5, value_range=(0.0, 1.0), initial=0.0)
    x = np.array([[0.0, 0.5, 1.0]], "float32")
    layer.build(x.shape)
    np.testing.assert_array_equal(gradient(lambda x: ops.sum(layer(x)), x), [[0.0, 1.0, 0.0]])
    assert to_numpy(layer(x)).tolist() == x.tolist()
    assert keras.backend.standardize_dtype(layer(x).dtype) == "float32"


@pytest.mark.parametrize("count", [2, 3])
def test_hardest_pairs_that_tie_share_the_gradient(count):
    """Each of the positives that are farthest gets an equal share, on every backend."""
    rows = np.array([[0.0], *[[2.0]] * count, [2.5]], "float32")
    labels = np.array([0] * (count + 1) + [1])
    slope = gradient(lambda x: L.triplet(labels, x, mining="hard")[0], rows)
    np.testing.assert_allclose(slope[1 : count + 1, 0], 1.0 / count, rtol=1e-5)
