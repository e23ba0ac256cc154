"""What `fit`, `evaluate`, `train_on_batch` and `predict` show of an ActivityPenalty."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.layers.networks import (
    batches,
    compiled,
    data,
    hidden,
    hidden_then_head,
    main_loss,
    mean_over_batches,
)
from tests.support import references
from tests.support.helpers import BACKEND

PENALTIES = {
    "l2": (lambda: kp.regularizers.L2(0.3), lambda h: 0.3 * references.l2(h)),
    "decov": (lambda: kp.regularizers.DeCov(20.0), lambda h: 20.0 * references.decov(h)),
}


@pytest.fixture(params=PENALTIES)
def penalized(request):
    """A model with a penalty, and what the penalty adds for a batch of inputs."""
    make, added = PENALTIES[request.param]
    model = compiled(hidden_then_head(make()), metrics=["mse"])
    weights = model.get_weights()
    return model, lambda x: added(hidden(weights, x))


def test_loss_is_the_compiled_loss_plus_the_penalty(penalized):
    model, added = penalized
    x, y = data(12)
    logs = model.fit(x, y, batch_size=12, verbose=0).history
    np.testing.assert_allclose(logs["mse"], [main_loss(model.get_weights(), x, y)], rtol=1e-5)
    np.testing.assert_allclose(logs["pressed"], [added(x)], rtol=1e-5)
    np.testing.assert_allclose(logs["loss"][0], logs["mse"][0] + logs["pressed"][0], rtol=1e-6)


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_short_last_batch_counts_by_its_size(penalized, epochs):
    model, added = penalized
    x, y = data(10)
    logs = model.fit(x, y, batch_size=4, epochs=epochs, shuffle=False, verbose=0).history
    expected = mean_over_batches(added, x, 4)
    np.testing.assert_allclose(logs["pressed"], [expected] * epochs, rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], np.add(logs["mse"], logs["pressed"]), rtol=1e-6)
    assert abs(expected - np.mean([added(b) for b in batches(x, 4)])) > 1e-4 * expected


def test_evaluate_and_validation(penalized):
    model, added = penalized
    (x, y), (other, labels) = data(8), data(6, seed=1)
    logs = model.fit(x, y, batch_size=4, epochs=2, validation_data=(other, labels), verbose=0).history
    expected = mean_over_batches(added, other, 4)
    np.testing.assert_allclose(logs["val_pressed"], [expected] * 2, rtol=1e-5)
    np.testing.assert_allclose(logs["val_loss"], np.add(logs["val_mse"], logs["val_pressed"]), rtol=1e-6)
    evaluated = model.evaluate(other, labels, batch_size=4, verbose=0, return_dict=True)
    assert set(evaluated) == {"loss", "mse", "pressed"}
    np.testing.assert_allclose(evaluated["pressed"], expected, rtol=1e-5)


def test_on_single_batches(penalized):
    model, added = penalized
    (x, y), (other, labels) = data(5), data(3, seed=1)
    first = model.train_on_batch(x, y, return_dict=True)
    np.testing.assert_allclose(first["pressed"], added(x), rtol=1e-5)
    np.testing.assert_allclose(first["loss"], first["mse"] + first["pressed"], rtol=1e-6)
    model.reset_metrics()
    np.testing.assert_allclose(
        model.train_on_batch(other, labels, return_dict=True)["pressed"], added(other), rtol=1e-5
    )
    model.reset_metrics()
    np.testing.assert_allclose(model.test_on_batch(x, y, return_dict=True)["pressed"], added(x), rtol=1e-5)
    assert model.metrics_names == ["loss", "compile_metrics", "pressed"] or "pressed" in model.metrics_names


def test_a_running_mean_while_an_epoch_runs(penalized):
    model, added = penalized
    x, y = data(12)
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(float(logs["pressed"]))
    )
    model.fit(x, y, batch_size=4, shuffle=False, callbacks=[watch], verbose=0)
    np.testing.assert_allclose(seen, [mean_over_batches(added, x[:n], 4) for n in (4, 8, 12)], rtol=1e-5)


def test_predicting_shows_and_leaves_nothing(penalized):
    model, added = penalized
    x, y = data(6)
    seen = []
    watch = keras.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs: seen.append(set(logs)))
    model.predict(x * 100, batch_size=2, callbacks=[watch], verbose=0)
    assert seen == [{"outputs"}] * 3
    np.testing.assert_allclose(
        model.evaluate(x, y, verbose=0, return_dict=True)["pressed"], added(x), rtol=1e-5
    )


def test_calls_between_batches_do_not_disturb(penalized):
    model, added = penalized
    x, y = data(10)

    class Caller(keras.callbacks.Callback):
        def call(self, batch, logs=None):
            for training in (False, True):
                self.model(100 * x[:3], training=training)
            self.model.predict_on_batch(100 * x[:2])

        on_train_batch_begin = on_train_batch_end = on_test_batch_end = call

    logs = model.fit(
        x, y, batch_size=4, epochs=2, shuffle=False, callbacks=[Caller()], validation_data=(x, y), verbose=0
    ).history
    expected = [mean_over_batches(added, x, 4)] * 2
    np.testing.assert_allclose(logs["pressed"], expected, rtol=1e-5)
    np.testing.assert_allclose(logs["val_pressed"], expected, rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], np.add(logs["mse"], logs["pressed"]), rtol=1e-6)


def test_weights_of_examples_do_not_weigh_penalties(penalized):
    model, added = penalized
    x, y = data(8)
    weights = np.linspace(0, 3, 8).astype("float32")
    logs = model.fit(x, y, sample_weight=weights, batch_size=8, verbose=0).history
    np.testing.assert_allclose(logs["pressed"], [added(x)], rtol=1e-5)


def test_several_layers_log_by_their_names():
    inputs = keras.Input((3,))
    one = kp.layers.ActivityPenalty(kp.regularizers.L2(0.5), name="one")(inputs)
    two = kp.layers.ActivityPenalty(kp.regularizers.L1(2.0), name="two")(one)
    unnamed = kp.layers.ActivityPenalty(kp.regularizers.DeCov(1.0))
    model = compiled(keras.Model(inputs, unnamed(two)))
    x, _ = data(8)
    logs = model.evaluate(x, x, batch_size=8, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "one", "two", unnamed.name}
    expected = [0.5 * references.l2(x), 2.0 * references.l1(x), references.decov(x)]
    np.testing.assert_allclose([logs["one"], logs["two"], logs[unnamed.name]], expected, rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], sum(expected), rtol=1e-5)


def test_a_sequential_model_and_a_subclassed_one():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.penalty = kp.layers.ActivityPenalty(kp.regularizers.L2(0.5), name="pressed")

        def call(self, inputs):
            return self.penalty(inputs)

    x, _ = data(8)
    sequential = keras.Sequential([kp.layers.ActivityPenalty(kp.regularizers.L2(0.5), name="pressed")])
    for model in (Own(), sequential):
        logs = compiled(model).fit(x, x, batch_size=8, epochs=2, verbose=0).history
        np.testing.assert_allclose(logs["pressed"], [0.5 * references.l2(x)] * 2, rtol=1e-5)
        np.testing.assert_allclose(logs["loss"], logs["pressed"], rtol=1e-6)


def test_a_penalty_of_keras_counts_as_in_its_newest_release():
    for own in ("l2", keras.regularizers.L2(0.01), {"class_name": "L2", "config": {"l2": 0.01}}):
        model = compiled(hidden_then_head(own))
        (x, y), weights = data(6), model.get_weights()
        logs = model.evaluate(x, y, batch_size=6, verbose=0, return_dict=True)
        np.testing.assert_allclose(logs["pressed"], 0.01 * references.l2(hidden(weights, x)), rtol=1e-5)


def test_nothing_is_lost_when_steps_run_eagerly():
    """Where Python gives the `id` of a dead loss to a new one, Keras would drop it."""
    names = [f"p{i}" for i in range(10)]
    x, _ = data(24)
    inputs = h = keras.Input((3,))
    for i, name in enumerate(names):
        h = kp.layers.ActivityPenalty(kp.regularizers.L2(0.1 * (i + 1)), name=name)(h)
    model = compiled(keras.Model(inputs, h), run_eagerly=True)
    logs = model.fit(x, x, batch_size=2 if BACKEND != "tensorflow" else 8, verbose=0).history
    for i, name in enumerate(names):
        np.testing.assert_allclose(logs[name], [0.1 * (i + 1) * references.l2(x)], rtol=1e-4)
    np.testing.assert_allclose(logs["loss"], [5.5 * references.l2(x)], rtol=1e-4)
