"""Models that train by a `train_step` of their own: `audit` says what the gradient in it holds."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.support.helpers import BACKEND
from tests.support.own_steps import OwnStep, StepOnBackend
from tests.test_audit import FINE, X

Y = X[:, :1]
L2, schedules = kp.regularizers.L2, keras.optimizers.schedules


class AddsLoss(layers.Layer):
    def call(self, x):
        self.add_loss(0.01 * ops.mean(ops.square(x)))
        return x


WAYS = {
    "argument": lambda x: layers.Dense(4, activity_regularizer=L2(0.1), name="quiet")(x),
    "layer": lambda x: kp.layers.ActivityPenalty(L2(0.1), name="quiet")(layers.Dense(4)(x)),
    "add_loss": lambda x: AddsLoss(name="quiet")(layers.Dense(4)(x)),
    "begins later": lambda x: kp.layers.ActivityPenalty(
        L2(schedules.PolynomialDecay(0.0, 5, 0.1)), name="quiet"
    )(layers.Dense(4)(x)),
    "on frozen layers": lambda x: kp.layers.ActivityPenalty(L2(0.1), name="quiet")(
        layers.Dense(4, trainable=False)(x)
    ),
}


def own(build, base=OwnStep, **attributes):
    inputs = keras.Input((6,))
    model = base(inputs, layers.Dense(1)(build(inputs)))
    for name, value in attributes.items():
        setattr(model, name, value)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode, verdict", [("drop", "dropped"), ("keep", FINE), ("twice", "counted 2 times")])
def test_what_a_step_counts(way, mode, verdict):
    (record,) = kp.audit(own(WAYS[way], mode=mode), X, Y).records
    if way == "on frozen layers":  # TensorFlow takes gradients of frozen layers too, and drops them
        assert record["verdict"].split(", ")[-1] in {"detached", verdict} - {FINE}
        return
    assert record["verdict"] == ("zero for now" if (way, mode) == ("begins later", "keep") else verdict)
    if verdict == "dropped":
        line = "return_losses=True" if BACKEND == "jax" else "self.compute_loss(x=x, y=y, y_pred=y_pred)"
        assert line in record["why"][0]
        assert "train_step" in record["why"][0]


@pytest.mark.parametrize("mode", ["drop", "keep", "twice"])
def test_the_loss_is_that_of_the_step(mode):
    model = own(WAYS["layer"], mode=mode)
    loss = kp.audit(model, X, Y).loss
    logs = model.fit(X, Y, batch_size=16, verbose=0, shuffle=False).history
    np.testing.assert_allclose(loss, logs["loss"][0], rtol=1e-5)


def test_a_step_that_runs_the_model_twice():
    model = own(WAYS["layer"], passes=2)
    (record,) = kp.audit(model, X, Y).records
    (once,) = kp.audit(own(WAYS["layer"]), X, Y).records
    assert (record["uses"], record["verdict"]) == (2, FINE)
    h = ops.convert_to_numpy(model.layers[1](X))
    np.testing.assert_allclose(record["value"], 2 * 0.1 * np.mean(np.sum(h**2, 1)), rtol=1e-5)
    assert once["uses"] == 1


@pytest.mark.parametrize("kind", ["mixed_float16", "loss_scale_factor"])
def test_a_scaled_loss_is_counted_once(kind):
    if kind == "mixed_float16":
        keras.config.set_dtype_policy("mixed_float16")
    model = own(WAYS["layer"])
    if kind == "loss_scale_factor":
        model.compile(keras.optimizers.SGD(0.01, loss_scale_factor=1024.0), "mse")
    assert [r["verdict"] for r in kp.audit(model, X, Y).records] == [FINE]


def test_a_step_that_calls_that_of_keras():
    class Calls(keras.Model):
        def train_step(self, *args):
            return super().train_step(*args)

    assert [r["verdict"] for r in kp.audit(own(WAYS["layer"], Calls), X, Y).records] == [FINE]


class Parts(StepOnBackend, keras.Model):
    """A model without `call`, of which a step runs the parts."""

    def __init__(self):
        super().__init__()
        self.first, self.last = layers.Dense(4), layers.Dense(1)
        self.penalty = kp.layers.ActivityPenalty([L2(0.1), kp.regularizers.L1(0.1)], name="quiet")

    def run(self, x):
        return self.last(self.penalty(self.first(x), training=True))


@pytest.mark.parametrize("mode, verdict", [("drop", "dropped"), ("keep", FINE)])
def test_a_model_without_a_call(mode, verdict):
    model = Parts()
    model.run(X)
    model.built, model.mode = True, mode
    model.compile("sgd")
    audit = kp.audit(model, X, Y)
    assert [r["verdict"] for r in audit.records] == [verdict] * 2
    assert (audit.loss, audit.main_loss) == (None, None)
    h = ops.convert_to_numpy(model.first(X))
    values = [0.1 * np.mean(np.sum(h**2, 1)), 0.1 * np.mean(np.sum(np.abs(h), 1))]
    np.testing.assert_allclose([r["value"] for r in audit.records], values, rtol=1e-5)
    assert "only the model's own training step knows the loss" in str(audit)


def test_what_cannot_be_checked_says_so():
    class Fails(OwnStep):
        def train_step(self, *args):
            raise KeyError("mask of the batch")

    class OnlyFit(keras.Model):
        def make_train_function(self, force=False):
            return super().make_train_function(force)

    for base, name, reason in (
        (Fails, "train_step", "KeyError: 'mask of the batch'"),
        (OnlyFit, "make_train_function", "Only `fit` runs"),
    ):
        (record,) = kp.audit(own(WAYS["layer"], base), X, Y).records
        assert record["verdict"] == f"own {name}: not checked"
        assert reason in record["why"][0]
        assert record["value"] > 0
    with pytest.raises(NotImplementedError):  # no way to run it at all
        kp.audit(Parts(), X)


def test_what_a_step_compiles_by_itself_is_not_kept():
    """It would hold what `audit` puts in place of the layers' methods."""
    histories = []
    for audits in (False, True):
        keras.utils.set_random_seed(0)
        model = own(WAYS["layer"], compiles=BACKEND != "torch")
        if audits:
            assert [r["verdict"] for r in kp.audit(model, 3 * X, Y).records] == [FINE]
        histories.append(model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history)
    assert histories[0] == histories[1]
