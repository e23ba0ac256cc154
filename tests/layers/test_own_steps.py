"""Training steps and loops that a user writes: the logs show what they have added."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.layers.networks import batches, compiled, data
from tests.support import references
from tests.support.guide_steps import CallsSeveral, Guide
from tests.support.helpers import BACKEND

EAGER = pytest.mark.parametrize("eager", [False, True])


def quiet(strength=0.5, name="quiet", **options):
    return kp.layers.ActivityPenalty(kp.regularizers.L2(strength), name=name, **options)


def penalized(layer=None):
    inputs = keras.Input((3,))
    return keras.Model(inputs, (layer or quiet())(inputs))


class Block(layers.Layer):
    """A penalty inside of a layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.penalty = quiet()

    def call(self, x, training=None):
        return self.penalty(x, training=training)


def several(calls, *parts, eager=False):
    model = CallsSeveral(parts or [penalized()], calls)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=eager)
    return model


@EAGER
def test_several_calls_in_a_step_are_summed(eager):
    """As in a step of two networks: the third call is of a loss that nobody reads."""
    x, _ = data(10)
    model = several([(0, 1, True, True), (0, 2, True, True), (0, 3, False, False)], eager=eager)
    logs = model.fit(x, batch_size=4, shuffle=False, epochs=2, verbose=0).history
    sums = [2.5 * references.l2(part) for part in batches(x, 4)]
    expected = np.average(sums, weights=[4, 4, 2])
    np.testing.assert_allclose(logs["quiet"], [expected] * 2, rtol=1e-5)
    np.testing.assert_allclose(logs["read"], [sums[-1]] * 2, rtol=1e-5)  # Keras shows what the last step gave


@EAGER
def test_a_layer_in_two_networks_and_its_strength(eager):
    """The strength is not summed: the logs show its value."""
    rising = keras.optimizers.schedules.PolynomialDecay(1.0, 4, 2.0)
    shared = kp.layers.ActivityPenalty(kp.regularizers.L1(rising), name="quiet")
    model = several(
        [(0, 1, False, True), (1, 1, False, True)], penalized(shared), penalized(shared), eager=eager
    )
    x, _ = data(6)
    logs = model.fit(x, batch_size=3, shuffle=False, verbose=0).history
    np.testing.assert_allclose(logs["quiet_strength"], [1.0], rtol=1e-5)
    expected = np.mean([2 * references.l1(part) for part in batches(x, 3)])
    np.testing.assert_allclose(logs["quiet"], [expected], rtol=1e-5)


def test_evaluation_after_a_step_of_several_calls():
    x, _ = data(8)
    model = several([(0, 1, True, True), (0, 2, True, True)])
    model.fit(x, batch_size=4, verbose=0)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    logs = model.evaluate(x, x, batch_size=4, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["quiet"], 0.5 * references.l2(x), rtol=1e-5)


@EAGER
@pytest.mark.parametrize("inside", [False, True])
def test_a_step_of_keras_guides(eager, inside):
    """It calls `update_state(y, y_pred)` on every metric, also on that of a layer inside of another."""
    inputs = keras.Input((3,))
    h = (Block(name="block") if inside else quiet())(inputs)
    model = compiled(Guide(inputs, layers.Dense(1)(h)), run_eagerly=eager)
    x, y = data(10)
    logs = model.fit(x, y, batch_size=4, shuffle=False, epochs=2, verbose=0).history
    expected = np.average([0.5 * references.l2(part) for part in batches(x, 4)], weights=[4, 4, 2])
    np.testing.assert_allclose(logs["quiet"], [expected] * 2, rtol=1e-5)
    main = np.mean((model.predict(x, verbose=0) - y) ** 2)
    losses = [
        np.mean((model.predict(a, verbose=0) - b) ** 2) + 0.5 * references.l2(a)
        for a, b in zip(batches(x, 4), batches(y, 4), strict=True)
    ]
    np.testing.assert_allclose(logs["loss"], [np.mean(losses)] * 2, rtol=1e-5)
    assert logs["loss"][0] > main


@EAGER
def test_a_step_of_keras_guides_on_a_wrapped_model(eager):
    methods = {name: value for name, value in vars(Guide).items() if not name.startswith("__")}
    Wrapped = type("Wrapped", (kp.models.HiddenOutputs,), methods)
    inputs = keras.Input((3,))
    model = Wrapped(keras.Model(inputs, layers.Dense(1)(layers.Identity(name="h")(inputs))), hidden=["h"])
    x, y = data(8)
    penalty = {"h": kp.regularizers.L2(0.5)}
    compiled(model, run_eagerly=eager, hidden_losses=penalty)
    logs = model.fit(x, y, batch_size=4, shuffle=False, epochs=2, verbose=0).history
    expected = np.mean([0.5 * references.l2(part) for part in batches(x, 4)])
    np.testing.assert_allclose(logs["h_loss"], [expected] * 2, rtol=1e-5)


@pytest.mark.default_backend_only
def test_a_loop_of_tensorflow_outside_of_fit():
    """Each execution of the compiled step counts, though it never asks for a result."""
    import tensorflow as tf

    model, (x, _) = penalized(), data(10)

    @tf.function
    def step(x):
        model(x, training=True)
        return sum(model.losses)

    for _ in range(2):
        model.reset_metrics()
        added = [float(step(part)) for part in batches(x, 4)]
        logs = {metric.name: float(metric.result()) for metric in model.metrics}
        np.testing.assert_allclose(logs["quiet"], np.average(added, weights=[4, 4, 2]), rtol=1e-5)


@pytest.mark.parametrize("asks", ["in each step", "at the end"])
def test_a_loop_of_ones_own_outside_of_fit(asks):
    model, (x, _) = penalized(), data(10)
    model.reset_metrics()
    added = []
    for part in batches(x, 4):
        model(part, training=True)
        added.append(float(sum(model.losses)))
        if asks == "in each step":
            model.get_metrics_result()
    logs = model.get_metrics_result()
    np.testing.assert_allclose(float(logs["quiet"]), np.average(added, weights=[4, 4, 2]), rtol=1e-5)


@EAGER
def test_a_callback_that_reads_losses_changes_nothing(eager):
    model, (x, _) = compiled(penalized(), run_eagerly=eager), data(8)

    class Reader(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model(100 * x)
            self.read = float(sum(self.model.losses))

    reader = Reader()
    logs = model.fit(x, x, batch_size=4, shuffle=False, verbose=0, callbacks=[reader]).history
    np.testing.assert_allclose(logs["quiet"], [0.5 * references.l2(x)], rtol=1e-5)
    np.testing.assert_allclose(reader.read, 5e3 * references.l2(x), rtol=1e-5)


@EAGER
def test_losses_that_were_read_before_are_not_in_the_logs_of_fit(eager):
    model, (x, _) = compiled(penalized(), run_eagerly=eager), data(8)
    for _ in range(2):
        model(100 * x)
        assert len(model.losses) == 1
        logs = model.fit(x, x, batch_size=4, shuffle=False, verbose=0).history
        np.testing.assert_allclose(logs["quiet"], [0.5 * references.l2(x)], rtol=1e-5)


@pytest.mark.backends("jax")
def test_losses_after_fit_are_none_of_a_trace_that_is_over():
    model, (x, _) = compiled(penalized()), data(8)
    model.fit(x, x, verbose=0)
    assert model.losses == []
    model(x)
    np.testing.assert_allclose(float(sum(model.losses)), 0.5 * references.l2(x), rtol=1e-5)


def test_a_step_that_never_asks_for_results_keeps_nothing():
    """An eager step: what it has added would otherwise stay, batch by batch."""

    class Asks(CallsSeveral):
        def get_metrics_result(self):
            return {}

    layer = quiet()
    model = Asks([penalized(layer)], [(0, 1, True, True)])
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    model.fit(data(8)[0], batch_size=2, verbose=0)
    assert len(layer.added_losses) <= 1
    if BACKEND != "jax":
        assert not [a for thread in layer._additions._threads.values() for a in thread.earlier]
