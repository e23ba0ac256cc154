"""Rows without a label, in all that takes classes or groups: they count as rows whose sample weight is 0."""

import warnings

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
from hypothesis import given
from keras import layers, ops

import keras_penalties as kp
from tests.losses.batch_cases import BATCH_CASES, draw
from tests.support.helpers import gradient, tensor, to_numpy

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
CENTERS = np.random.RandomState(1).randn(4, 3).astype("float32")
REDUCTIONS = ["sum_over_batch_size", "sum", "mean_with_sample_weight", None]
UNKNOWN = [-1, -7]

by_case = pytest.mark.parametrize("case", BATCH_CASES, ids=lambda case: case.name)
ids = st.lists(st.sampled_from([0, 1, 2, 3, *UNKNOWN]), min_size=7, max_size=7)
weights = st.none() | st.lists(st.sampled_from([0.0, 0.5, 2.0]), min_size=7, max_size=7)


def rows(seed, count=7):
    return np.random.RandomState(seed).randn(count, 3).astype("float32")


def mean(values, weight, known, reduction):
    """What Keras makes of the values of rows that have these weights."""
    values = values * weight * known
    if reduction is None:
        return values
    counts = {"sum": 1, "sum_over_batch_size": len(values), "mean_with_sample_weight": np.sum(weight * known)}
    return values.sum() / counts[reduction]


@by_case
@given(ids, weights, st.sampled_from(REDUCTIONS), st.sampled_from([0, 3, 9]), st.integers(0, 1000))
def test_a_loss_of_a_batch_is_that_of_the_labelled_rows(case, y, weight, reduction, other, seed):
    y, p = np.array(y, "int32"), rows(seed)
    weight = None if weight is None else np.array(weight, "float32")
    given_weight = np.ones(7) if weight is None else weight.astype("float64")
    known, counts = y >= 0, (y >= 0) & (given_weight > 0)
    expected = np.zeros(7)
    if counts.any():
        expected[counts] = case.reference(y[counts], p[counts])
    elif reduction == "mean_with_sample_weight":
        return  # nothing to divide by
    loss = case.make(reduction=reduction)
    found = to_numpy(loss(tensor(y), tensor(p), sample_weight=weight))
    np.testing.assert_allclose(found, mean(expected, given_weight, known, reduction), **CLOSE)
    # With the weight 0, any class gives the same.
    labels, zero = np.where(known, y, other).astype("int32"), (given_weight * known).astype("float32")
    same = to_numpy(loss(tensor(labels), tensor(p), sample_weight=zero))
    np.testing.assert_allclose(same, found, **CLOSE)


@by_case
def test_as_a_function_and_in_each_form_of_labels(case):
    y, p = draw(12)
    known = np.arange(12) % 3 > 0
    expected = np.zeros(12)
    expected[known] = case.reference(y[known], p[known])
    one_hot = np.eye(8)[y] * known[:, None]
    signed = np.where(known, y, -1)
    for labels in (signed, signed[:, None], signed.astype("float32"), signed.astype("int64"), one_hot):
        found = to_numpy(case.function(tensor(labels), tensor(p), **case.options))
        np.testing.assert_allclose(found, expected, **CLOSE)
        np.testing.assert_allclose(to_numpy(case.make(reduction=None)(labels, p)), expected, **CLOSE)
    p[~known] = np.nan
    slope = gradient(lambda p, y: ops.sum(case.function(y, p, **case.options)), tensor(p), tensor(signed))
    assert np.isfinite(slope[known]).all() and (slope[~known] == 0).all()


@given(ids, weights, st.sampled_from(REDUCTIONS[:3]), st.integers(0, 1000))
def test_centres_are_those_of_the_labelled_rows(y, weight, reduction, seed):
    y, p = np.array(y, "int32"), rows(seed)
    given_weight = np.ones(7) if weight is None else np.array(weight)
    known = y >= 0
    if reduction == "mean_with_sample_weight" and not np.any(given_weight * known):
        return
    weight = None if weight is None else given_weight.astype("float32")
    loss = kp.losses.Center(4, rate=0.4, reduction=reduction)
    values = 0.5 * np.sum(np.square(CENTERS[np.maximum(y, 0)] - p), axis=1)
    found = float(loss(tensor(y), tensor(p), sample_weight=weight, centers=tensor(CENTERS)))
    np.testing.assert_allclose(found, mean(values, given_weight, known, reduction), **CLOSE)
    moved = loss.next_state(tensor(y), tensor(p), weight, centers=tensor(CENTERS))["centers"]
    counts, expected = known & (given_weight > 0), CENTERS.astype("float64")
    for c in range(4):
        members = p[counts & (y == c)]
        expected[c] -= 0.4 * np.sum(CENTERS[c] - members, axis=0) / (1 + len(members))
    np.testing.assert_allclose(to_numpy(moved), expected, **CLOSE)
    one_hot = tensor(np.eye(4, dtype="float32")[np.maximum(y, 0)] * known[:, None])
    same = float(loss(one_hot, tensor(p), sample_weight=weight, centers=tensor(CENTERS)))
    np.testing.assert_allclose(same, found, **CLOSE)


CLASSES = list({case.cls: case.cls for case in BATCH_CASES})
# The rows without a label come after the first 32, which are checked before a step.
KNOWN = np.arange(48) < 36


def labelled():
    y = np.arange(48) % 4
    x = np.random.RandomState(0).randn(48, 3).astype("float32")
    return x, np.where(KNOWN, y, -1), y, KNOWN.astype("float32")


def network():
    keras.utils.set_random_seed(0)
    start = keras.Input((3,))
    h = layers.Dense(4, "tanh", name="h")(start)
    return keras.Model(start, layers.Dense(1, name="out")(h))


def assert_same(one, two):
    (logs, of_one), (others, of_two) = one, two
    assert logs.keys() == others.keys()
    for key in logs:
        np.testing.assert_allclose(logs[key], others[key], rtol=1e-4, err_msg=key)
    for a, b in zip(of_one, of_two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cls", [*CLASSES, kp.losses.Center], ids=lambda cls: cls.__name__)
def test_inside_a_compiled_fit_of_hidden_outputs(cls):
    arguments = {"classes": 4} if cls is kp.losses.Center else {}
    x, y, other, weight = labelled()

    def train(labels, sample_weight=None):
        model = kp.models.HiddenOutputs(network(), hidden=["h"])
        model.compile(
            keras.optimizers.SGD(0.1),
            "mse",
            hidden_losses={"h": cls(reduction="mean_with_sample_weight", **arguments)},
            hidden_targets={"h": "who"},
        )
        options = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}
        labels = {"out": x[:, :1], "who": labels}
        history = model.fit(x, labels, sample_weight=sample_weight, **options).history
        return history, [to_numpy(w) for w in model.weights]

    assert_same(train(y), train(other, {"out": np.ones(48, "float32"), "who": weight}))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_inside_a_compiled_fit_of_a_model_of_keras(cls):
    x, y, other, weight = labelled()

    def train(labels, sample_weight=None):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), layers.Dense(4, "tanh")])
        model.compile(keras.optimizers.SGD(0.1), cls())
        options = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}
        return model.fit(x, labels, sample_weight=sample_weight, **options).history, model.get_weights()

    assert_same(train(y), train(other, weight))


def test_of_anti_piracy_its_labelled_rows_count():
    x, y, other, weight = labelled()

    def logs_of(labels, sample_weight=None):
        keras.utils.set_random_seed(0)
        classifier = keras.Sequential([keras.Input((3,)), layers.Dense(4, "softmax")])
        model = kp.models.AntiPiracy(classifier, layers.Rescaling(1.0, offset=0.5))
        model.compile(keras.optimizers.SGD(0.1))
        options = {"batch_size": 16, "shuffle": False, "verbose": 0}
        return model.fit(x, labels, sample_weight=sample_weight, **options).history, model.get_weights()

    found = logs_of(y)
    assert_same(found, logs_of(other, weight))
    assert_same(found, logs_of(np.eye(4)[other] * weight[:, None]))
    assert found[0]["processed_loss"] != logs_of(other)[0]["processed_loss"]


def test_rows_without_a_label_are_in_no_pair():
    labels, x = np.array([0, -1, 0, 1, -1, 1, -1]), np.arange(7)
    (first, second), similar = kp.models.balanced_pairs(x, labels, seed=0)
    assert len(first) == 8 and similar.mean() == 0.5
    assert set(first) | set(second) == {0, 2, 3, 5}
    with pytest.raises(ValueError, match="at least two classes.*a negative label means none"):
        kp.models.balanced_pairs(np.arange(4), np.array([-1, -1, 1, 1]))


@pytest.mark.parametrize("function", [case.function for case in BATCH_CASES[::2]], ids=lambda f: f.__name__)
def test_a_warning_where_minus_one_looks_like_a_class(function):
    signs = np.array([-1, 1, 1, -1])
    with pytest.warns(UserWarning, match="holds only the ids -1 and 1.*If -1 is a class: Number the classes"):
        function(signs, rows(0, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(np.array([-1, 1, 0, -1]), rows(0, 4))
        function(np.array([1, 1, 1, 1]), rows(0, 4))


@pytest.mark.parametrize("make", [lambda: kp.losses.Center(2), kp.losses.MinDiff], ids=["Center", "MinDiff"])
def test_the_warning_on_the_first_batch_of_a_hidden_loss(make):
    model = kp.models.HiddenOutputs(network(), hidden=["h"])
    model.compile("sgd", "mse", hidden_losses={"h": make()}, hidden_targets={"h": "group"})
    x = rows(0, 8)
    with pytest.warns(UserWarning, match="`y_true` of .* holds only the ids -1 and 1"):
        model.fit(x, {"out": x[:, :1], "group": np.array([-1, 1] * 4)}, verbose=0)
