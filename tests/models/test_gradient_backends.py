"""Gradients give the same numbers on several devices, on other backends, and in code of other projects."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from benchmarks import measure
from tests.models.networks import set_weights
from tests.models.test_gradient import X, Y, network, values, wrapped
from tests.support.helpers import BACKEND, fresh_process, to_numpy

Gradient, R = kp.models.Gradient, kp.regularizers

TRAINING = """
import contextlib, json, keras, numpy as np
import keras_penalties as kp
from keras import layers
from tests.models.networks import set_weights
from tests.support import replicated

def train(rows):
    noise = np.random.RandomState(0)
    x = keras.Input((3,), name="x")
    h = layers.Dense(4, activation="tanh", name="h")(x)
    model = set_weights(keras.Model(x, layers.Dense(2, name="logits")(h)))
    G, R = kp.models.Gradient, kp.regularizers
    hidden = {"slope": G("logits", "x"), "all": G("logits", "h", projections=2), "bent": G("slope", "x")}
    model = kp.models.HiddenOutputs(model, hidden)
    moving = keras.optimizers.schedules.PolynomialDecay(0.1, 10, 1.0)
    losses = {"slope": R.GradientPenalty(moving, norm=0.5), "all": R.L2(0.5), "bent": R.L2(0.3)}
    model.compile(keras.optimizers.SGD(0.1), "mse", hidden_losses=losses)
    logs = {}
    for step in range(10):
        batch = noise.uniform(-1, 1, (rows, 3)).astype("float32"), noise.randn(rows, 2).astype("float32")
        history = model.fit(*batch, batch_size=rows, shuffle=False, verbose=0).history
        for key, (value,) in history.items():
            logs.setdefault(key, []).append(float(value))
    return [logs, [w.tolist() for w in model.get_weights()]]
"""


def trained(code, **options):
    return json.loads(fresh_process(TRAINING + code, **options).splitlines()[-1])


def assert_equal(one, other, rtol):
    assert set(one[0]) == set(other[0])
    for key, expected in one[0].items():
        np.testing.assert_allclose(other[0][key], expected, rtol=rtol, atol=1e-6, err_msg=key)
    for ours, theirs in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.backends("tensorflow", "jax")
def test_two_devices_train_as_one(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    code = "train(8)" if BACKEND == "jax" else "replicated.tensorflow_devices(2) or train(8)"
    one = trained(f"print(json.dumps({code}))")
    prepare = "" if BACKEND == "jax" else "replicated.tensorflow_devices(2)\n"
    two = trained(f"{prepare}with replicated.on(2):\n    found = train(8)\nprint(json.dumps(found))")
    assert_equal(one, two, rtol=1e-5)


@pytest.mark.default_backend_only
def test_ten_steps_on_every_backend():
    found = {}
    for backend in ("tensorflow", "jax", "torch"):
        pytest.importorskip(backend)
        found[backend] = trained("print(json.dumps(train(8)))", backend=backend)
    assert len(found["tensorflow"][0]["slope_loss"]) == 10
    for backend in ("jax", "torch"):
        assert_equal(found["tensorflow"], found[backend], rtol=2e-5)


def test_the_jacobian_regularizer_of_its_authors():
    """`JacobianReg` of facebookresearch/jacobian_regularizer, in NumPy, on the same directions: half of the
    mean of `C * |v J|**2` over projections, with `v` of length 1."""
    model = network()
    model.optimizer = None
    w1, b1, w2, _ = model.get_weights()
    h = np.tanh(X @ w1 + b1)
    jacobian = np.einsum("nh,dh,ho->nod", 1 - h**2, w1, w2)
    gradient = Gradient("logits", "x", projections=3, seed=4)
    drawn = to_numpy(kp.models._gradient.Directions(gradient, "g").draw(ops.zeros((6, 2)), training=False))
    expected = 0.0
    for vectors in drawn:
        v = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        expected += 2 * np.linalg.norm(np.einsum("no,nod->nd", v, jacobian)) ** 2 / (3 * len(X))
    found = values(wrapped(model, R.L2(0.5), slope=gradient))
    assert found["slope"] == pytest.approx(0.5 * expected, rel=1e-5)


@pytest.mark.default_backend_only
def test_the_gradient_penalty_of_the_keras_example():
    """The penalty of "WGAN-GP overriding Model.train_step" of keras-io, and its gradient in the weights."""
    import tensorflow as tf

    image = keras.Input((6, 6, 1), name="image")
    h = layers.LeakyReLU(negative_slope=0.2)(layers.Conv2D(4, 3, strides=2, padding="same")(image))
    critic = set_weights(keras.Model(image, layers.Dense(1, name="score")(layers.Flatten()(h))))
    noise = np.random.RandomState(2)
    images = tf.constant(noise.randn(5, 6, 6, 1).astype("float32"))
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(images)
            score = critic(images, training=True)
        slopes = inner.gradient(score, images)
        norm = tf.sqrt(tf.reduce_sum(tf.square(slopes), axis=[1, 2, 3]))
        expected = tf.reduce_mean((norm - 1.0) ** 2)
    by_hand = outer.gradient(expected, critic.trainable_weights[:1])
    model = kp.models.HiddenOutputs(critic, {"slope": Gradient("score", "image")})
    model.compile(hidden_losses={"slope": R.GradientPenalty(1.0)})
    with tf.GradientTape() as tape:
        value = model.compute_loss(x=images, y_pred=model(images, training=True))
    assert float(value) == pytest.approx(float(expected), rel=1e-6)
    found = tape.gradient(value, critic.trainable_weights[:1])
    np.testing.assert_allclose(found[0], by_hand[0], rtol=1e-5, atol=1e-7)


def plain_and_penalized(kind):
    """A network, and the same with one projection."""

    def make():
        size = (12, 12, 2) if kind == "convolutional" else (64,)
        x = h = keras.Input(size, name="x")
        for _ in range(3):
            linear = layers.Conv2D(16, 3, padding="same") if kind == "convolutional" else layers.Dense(64)
            h = linear(h)
            if kind == "normalized":
                h = layers.Dropout(0.2)(layers.BatchNormalization()(h))
            h = layers.ReLU()(h)
        h = layers.Flatten()(h)
        return keras.Model(x, layers.Dense(10, name="logits")(h)), size

    model, size = make()
    yield kp.models.HiddenOutputs(model), {}, size
    model, size = make()
    hidden = {"slope": Gradient("logits", "x", projections=1)}
    yield kp.models.HiddenOutputs(model, hidden), {"hidden_losses": {"slope": R.L2(0.1)}}, size


@pytest.mark.backends("jax")
@pytest.mark.parametrize("kind", ["dense", "normalized", "convolutional"])
def test_what_one_projection_costs(kind):
    """A plain step has three passes; a projection adds one for the gradient, and two for its own gradient."""
    flops = []
    for model, arguments, size in plain_and_penalized(kind):
        model.compile(keras.optimizers.SGD(0.1), "mse", **arguments)
        count, _ = measure.step_counts(model, np.ones((32, *size), "float32"), np.ones((32, 10), "float32"))
        flops.append(count)
    assert 1.5 < flops[1] / flops[0] <= 2.2


def test_how_often_the_model_is_called():
    """Once in a step; twice on JAX, where the compiler merges the two."""
    calls = []

    @keras.saving.register_keras_serializable("tests.models.test_gradient_backends")
    class Counted(layers.Dense):
        def call(self, x):
            calls.append(1)
            return super().call(x)

    x = keras.Input((3,), name="x")
    h = Counted(4, activation="tanh", name="h")(x)
    model = set_weights(keras.Model(x, layers.Dense(2, name="logits")(h)))
    model = wrapped(
        model,
        run_eagerly=True,
        one=Gradient("logits", "x"),
        two=Gradient("h", "x"),
        three=Gradient("logits", "h"),
    )
    model.train_on_batch(X, Y)
    calls.clear()
    model.train_on_batch(X, Y)
    assert len(calls) == (2 if BACKEND == "jax" else 1)
