"""One ActivityPenalty that is used more than once, or sits inside a model that is."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.layers.networks import compiled, data
from tests.support import references


def l2(strength=0.1, name="pressed"):
    return kp.layers.ActivityPenalty(kp.regularizers.L2(strength), name=name)


def two_inputs(join):
    inputs = [keras.Input((3,)), keras.Input((3,))]
    return compiled(keras.Model(inputs, keras.layers.Add()(join(*inputs))))


@pytest.fixture
def pair():
    x, other = data(10)[0], data(10, seed=1)[0]
    return [x, other], 0.1 * references.l2(x) + 0.1 * references.l2(other), np.zeros((10, 3), "float32")


@pytest.mark.parametrize("batch", [10, 4])
@pytest.mark.parametrize("inside", ["layer", "model", "model in a model", "sequential"])
def test_used_twice_counts_twice_and_logs_the_sum(pair, inside, batch):
    penalty = l2()
    if inside == "layer":
        shared = penalty
    elif inside == "sequential":
        shared = keras.Sequential([keras.Input((3,)), penalty])
    else:
        inputs = keras.Input((3,))
        shared = keras.Model(inputs, penalty(inputs))
        if inside == "model in a model":
            inputs = keras.Input((3,))
            shared = keras.Model(inputs, shared(inputs))
    model = two_inputs(lambda a, b: [shared(a), shared(b)])
    (x, expected, y) = pair
    for _ in range(2):
        logs = model.fit(
            x, y, batch_size=batch, shuffle=False, epochs=2, validation_data=(x, y), verbose=0
        ).history
        np.testing.assert_allclose(logs["pressed"], [expected] * 2, rtol=1e-5)
        np.testing.assert_allclose(logs["val_pressed"], [expected] * 2, rtol=1e-5)
    compiled(model, metrics=["mse"])
    logs = model.evaluate(x, y, batch_size=batch, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["pressed"], expected, rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], logs["mse"] + expected, rtol=1e-5)


def test_used_on_its_own_output():
    penalty, inputs = l2(), keras.Input((3,))
    model = compiled(keras.Model(inputs, penalty(2.0 * penalty(inputs))))
    x, _ = data(6)
    logs = model.fit(x, 2 * x, batch_size=6, verbose=0).history
    expected = [0.1 * 5 * references.l2(x)]
    np.testing.assert_allclose(logs["pressed"], expected, rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)


def test_the_gradient_of_a_shared_layer_counts_every_use(pair):
    """On one Dense that both branches share: one step at rate 1, against NumPy."""
    dense, penalty = keras.layers.Dense(2, use_bias=False), l2(0.5)
    model = two_inputs(lambda a, b: [penalty(dense(a)), penalty(dense(b))])
    (a, b), _, _ = pair
    kernel = dense.get_weights()[0]
    compiled(model, learning_rate=1.0)
    model.fit([a, b], np.zeros((10, 2), "float32"), batch_size=10, verbose=0)
    slope = 0.5 * 2 * (a.T @ (a @ kernel) + b.T @ (b @ kernel)) / 10
    slope = slope + 2 * (a + b).T @ ((a + b) @ kernel) / 20
    np.testing.assert_allclose(dense.get_weights()[0], kernel - slope, rtol=1e-4, atol=1e-5)


def test_the_same_layer_in_two_models():
    penalty, inputs = l2(), keras.Input((3,))
    h = penalty(inputs)
    one, other = compiled(keras.Model(inputs, h)), compiled(keras.Model(inputs, 2.0 * h))
    x, _ = data(6)
    for model in (one, other, one):
        logs = model.fit(x, x, batch_size=3, shuffle=False, verbose=0).history
        np.testing.assert_allclose(logs["pressed"], [0.1 * references.l2(x)], rtol=1e-5)


def test_two_branches_with_masks():
    """A shared masked encoder, whose branches are padded differently."""
    penalty, masking, grow = l2(1.0), keras.layers.Masking(), keras.layers.Activation("exponential")
    inputs = [keras.Input((None, 3)), keras.Input((None, 3))]
    pooled = [keras.layers.GlobalAveragePooling1D()(penalty(grow(masking(i)))) for i in inputs]
    model = compiled(keras.Model(inputs, keras.layers.Add()(pooled)))
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(4, 6, 3)).astype("float32") for _ in range(2))
    a[:, 4:], b[:2, 1:] = 0.0, 0.0
    expected = sum(references.l2(np.exp(t), np.any(t != 0, axis=-1)) for t in (a, b))
    logs = model.evaluate([a, b], np.zeros((4, 3), "float32"), verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["pressed"], expected, rtol=1e-5)
