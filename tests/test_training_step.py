"""Gradients, not values alone: the weights after SGD at rate 1 are NumPy's, by each way of attaching."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.models.networks import forward
from tests.support import references
from tests.support.helpers import finite_differences
from tests.support.ways import WAYS, attach


def l2(hidden):
    return np.sum(np.square(hidden)) / len(hidden)


# Each with a strength at which leaving it out would be seen.
PENALTIES = {
    "L2": (kp.regularizers.L2(0.05), l2),
    "DeCov": (kp.regularizers.DeCov(2.0), references.decov),
}


def data(rows):
    random = np.random.RandomState(7)
    return random.randn(rows, 3), random.randn(rows, 2)


def gradients(weights, x, y, strength, formula):
    """Of the mean squared error plus the penalty, in float64, one array a weight."""

    def loss_with(i, value):
        hidden, output = forward([*weights[:i], value, *weights[i + 1 :]], x)
        return np.mean((output - y) ** 2) + strength * formula(hidden)

    return [finite_differences(lambda w, i=i: loss_with(i, w), w) for i, w in enumerate(weights)]


def trained(way, penalty, x, y, batch_size, optimizer=None, **compiled):
    model, terms = attach(way, penalty)
    before = [w.astype("float64") for w in model.get_weights()]
    optimizer = optimizer or keras.optimizers.SGD(1.0)
    model.compile(optimizer, "mse", **terms, **compiled)
    model.fit(x, y, batch_size=batch_size, shuffle=False, verbose=0)
    return before, model.get_weights()


def by_numpy(weights, batches, strength, formula):
    for x, y in batches:
        steps = gradients(weights, x, y, strength, formula)
        weights = [w - step for w, step in zip(weights, steps, strict=True)]
    return weights


def assert_equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("way", WAYS)
def test_one_step(way, name):
    penalty, formula = PENALTIES[name]
    x, y = data(6)
    before, after = trained(way, penalty, x, y, 6)
    assert_equal(after, by_numpy(before, [(x, y)], penalty.strength, formula))
    assert not np.allclose(after[0], by_numpy(before, [(x, y)], 0.0, formula)[0], atol=2e-3)


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("way", WAYS)
def test_a_short_last_batch(way, name):
    penalty, formula = PENALTIES[name]
    x, y = data(7)
    before, after = trained(way, penalty, x, y, 4)
    assert_equal(after, by_numpy(before, [(x[:4], y[:4]), (x[4:], y[4:])], penalty.strength, formula))


@pytest.mark.parametrize("way", WAYS)
def test_gradient_accumulation(way):
    penalty, formula = PENALTIES["L2"]
    x, y = data(8)
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2)
    before, after = trained(way, penalty, x, y, 4, optimizer)
    first, second = (
        gradients(before, x[s], y[s], penalty.strength, formula) for s in (slice(4), slice(4, 8))
    )
    expected = [w - (a + b) / 2 for w, a, b in zip(before, first, second, strict=True)]
    assert_equal(after, expected)


@pytest.mark.backends("tensorflow", "jax")
@pytest.mark.parametrize("way", WAYS)
def test_several_steps_an_execution(way):
    penalty, formula = PENALTIES["L2"]
    x, y = data(16)
    before, after = trained(way, penalty, x, y, 4, steps_per_execution=4)
    batches = [(x[i : i + 4], y[i : i + 4]) for i in range(0, 16, 4)]
    assert_equal(after, by_numpy(before, batches, penalty.strength, formula))


@pytest.mark.backends("tensorflow", "jax")
@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("way", WAYS[1:])
def test_nothing_is_traced_again(way, moving, monkeypatch):
    calls, elements = [], kp.regularizers.L2.elements
    monkeypatch.setattr(kp.regularizers.L2, "elements", lambda self, x: calls.append(0) or elements(self, x))
    strength = keras.optimizers.schedules.CosineDecay(0.1, 10) if moving else 0.1
    model, terms = attach(way, kp.regularizers.L2(strength))
    model.compile("sgd", "mse", **terms)
    x, y = data(8)
    model.fit(x, y, verbose=0)
    model.train_on_batch(x, y)
    before = len(calls)
    assert before
    for _ in range(3):
        model.train_on_batch(x, y)
    model.fit(x, y, verbose=0)
    assert len(calls) == before
