"""Losses with a state, of the package and of a user: who keeps it, what moves it, how it is saved."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.support.helpers import to_numpy


@keras.saving.register_keras_serializable("own_project")
class Drift(kp.losses.StatefulLoss):
    """The squared distance to a running mean of the hidden layer, for examples of class 0."""

    def __init__(self, rate, name="drift"):
        super().__init__(name=name)
        self.rate = rate

    def state(self, shapes):
        return {"mean": {"shape": (shapes[0][-1],), "initializer": "ones"}}

    def call(self, y_true, y_pred, mean):
        return ops.where(y_true == 0, ops.sum(ops.square(y_pred - mean), axis=-1), 0.0)

    def next_state(self, y_true, y_pred, sample_weight=None, *, mean):
        return {"mean": (1 - self.rate) * mean + self.rate * ops.mean(y_pred, axis=0)}


@keras.saving.register_keras_serializable("own_project")
class Scaled(kp.losses.StatefulLoss):
    """A state that the optimizer moves."""

    def state(self, shapes):
        return {"scale": {"shape": (), "initializer": "ones", "trainable": True}}

    def call(self, y_true, y_pred, scale):
        return ops.sum(ops.square(scale * y_pred), axis=-1)


def compiled(loss, rate=0.0):
    start = keras.Input((3,))
    h = layers.Dense(3, kernel_initializer="identity", name="h")(start)
    model = kp.models.HiddenOutputs(keras.Model(start, layers.Dense(1)(h)), hidden=["h"])
    model.compile(keras.optimizers.SGD(rate), hidden_losses={"h": loss})
    return model


def data():
    x = np.random.RandomState(0).randn(9, 3).astype("float32")
    return x, np.arange(9) % 2


def state_of(model):
    (value,) = [w for w in model.weights if "h_loss" in w.path]
    return to_numpy(value)


def test_a_loss_of_ones_own_moves_its_state_once_per_batch(tmp_path):
    model, (x, y), mean, losses = compiled(Drift(0.25)), data(), np.ones(3), []
    logs = model.fit(x, y, batch_size=3, shuffle=False, verbose=0).history
    for i in range(0, 9, 3):
        rows = x[i : i + 3].astype("float64")
        losses.append(np.sum(np.sum((rows - mean) ** 2, axis=1) * (y[i : i + 3] == 0)) / 3)
        mean = 0.75 * mean + 0.25 * rows.mean(axis=0)
    np.testing.assert_allclose(logs["h_loss"], [np.mean(losses)], rtol=1e-5)
    np.testing.assert_allclose(state_of(model), mean, rtol=1e-5, atol=1e-6)
    model.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(state_of(model), mean, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(state_of(again), state_of(model))
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def test_an_optimizer_moves_a_state_that_is_trainable():
    model, (x, y) = compiled(Scaled(), rate=0.1), data()
    model.fit(x, y, batch_size=9, verbose=0)
    slope = 2 * np.mean(np.sum(x.astype("float64") ** 2, axis=1))
    np.testing.assert_allclose(state_of(model), 1 - 0.1 * slope, rtol=1e-4)


@pytest.mark.parametrize("loss", [Drift(0.5), Scaled(), kp.losses.Center(3)], ids=lambda loss: loss.name)
def test_without_an_owner(loss):
    words = f"{type(loss).__name__} has a state, which needs an owner"
    with pytest.raises(TypeError, match=words):
        loss([0], [[1.0]])
    start = keras.Input((3,))
    model = keras.Model(start, layers.Dense(3)(start))
    model.compile("sgd", loss)
    with pytest.raises(TypeError, match=words):
        model.fit(*data(), verbose=0)


def test_a_loss_that_lacks_a_method():
    class Nothing(kp.losses.StatefulLoss):
        pass

    with pytest.raises(NotImplementedError, match=r"Nothing must implement `state\(shapes\)`"):
        compiled(Nothing())
    with pytest.raises(
        NotImplementedError, match=r"Nothing must implement `call\(y_true, y_pred, \*\*state\)`"
    ):
        Nothing()([0], [[1.0]], mean=ops.zeros(1))


def test_a_state_by_another_name():
    class Renamed(Drift):
        def next_state(self, *args, mean):
            return {"average": mean}

    words = r"`next_state` must return .* the names from `state`: \['mean'\]\. Received: \['average'\]"
    with pytest.raises(Exception, match=words):
        compiled(Renamed(0.1)).fit(*data(), verbose=0)


def test_only_a_declared_loss_has_a_state():
    """A loss of another package may have methods of any name."""

    class Own(keras.losses.Loss):
        def state(self, shapes):
            raise AssertionError

        next_state = learned = moved = refuse = state

        def call(self, y_true, y_pred):
            return ops.sum(ops.square(y_pred), axis=-1)

    x, y = data()
    logs = compiled(Own()).fit(x, y, verbose=0).history
    np.testing.assert_allclose(logs["h_loss"], [np.mean(np.sum(x**2, axis=1))], rtol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [Drift(0.25, name="mine"), kp.losses.Center(3, rate=0.25, reduction="sum", name="mine", dtype="float16")],
    ids=["own", "Center"],
)
def test_goes_through_a_file_with_its_arguments(loss):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == loss.get_config()
    assert (again.name, again.rate, again.reduction, again.dtype) == (
        "mine",
        0.25,
        loss.reduction,
        loss.dtype,
    )


def test_an_argument_that_is_not_kept():
    class Forgetful(kp.losses.StatefulLoss):
        def __init__(self, width):
            super().__init__()

    with pytest.raises(ValueError, match="Forgetful cannot be saved: its arguments width are not stored"):
        Forgetful(3).get_config()


def test_class_ids_are_not_rounded_in_half_precision():
    loss = kp.losses.Center(5000, dtype="float16")
    centers = ops.cast(ops.reshape(ops.arange(5000), (-1, 1)) == 4097, "float32")
    assert float(loss(np.array([4097]), np.array([[1.0]], "float32"), centers=centers)) == 0.0


def test_labels_are_checked_once_where_values_can_be_seen():
    loss, centers = kp.losses.Center(2), ops.zeros((2, 1))
    with pytest.raises(ValueError, match="`y_true` of Center must hold class ids from 0 to 1"):
        loss([2], [[1.0]], centers=centers)
    loss([1], [[1.0]], centers=centers)
    with pytest.raises(ValueError, match="`y_true` of Center must hold integer class ids"):
        kp.losses.Center(2)([0.5], [[1.0]], centers=centers)
