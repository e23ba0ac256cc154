"""`audit` changes nothing: all that can be reached from a model is the same before and after, by search."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from keras_penalties._keras import gradients, steps
from tests.support import own_steps
from tests.support.fingerprints import differences, fingerprint
from tests.support.helpers import BACKEND, to_numpy
from tests.test_audit import RANDOM, STEPS, X, Y, compiled, mlp, penalized, recurrent, siamese, wrapped

LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
R = kp.regularizers


class Counts(keras.Model):
    """A model with state of its own: Python numbers, an array, a generator, and a metric in its call."""

    def __init__(self):
        super().__init__()
        self.hidden, self.drop = layers.Dense(4), layers.Dropout(0.5)
        warm_up = keras.optimizers.schedules.PolynomialDecay(0.1, 10, 1.0)
        self.penalty = kp.layers.ActivityPenalty(
            [R.L2(warm_up), R.L1(kp.schedules.Target(0.1))], name="quiet"
        )
        self.out = layers.Dense(3)
        self.calls, self.shapes, self.total = 0, [], np.zeros(3)
        self.rng = np.random.default_rng(0)

    def call(self, x, training=None):
        self.calls += 1
        self.shapes.append(tuple(x.shape))
        self.total += self.rng.normal(size=3)
        np.random.normal()
        h = self.drop(self.hidden(x), training=training)
        if training and BACKEND != "jax":  # where Keras refuses a generator that is not an attribute
            h = h + 0.1 * keras.random.normal((4,))
        return self.out(self.penalty(h, training=training))


def anti_piracy():
    classifier = keras.Sequential([keras.Input((6,)), layers.Dense(3, activation="softmax")])
    transform = keras.Sequential([keras.Input((6,)), layers.Dense(6, activity_regularizer=R.L2(0.1))])
    model = kp.models.AntiPiracy(classifier, transform)
    model.compile("sgd")
    return model


def distilled():
    def net(name):
        h = layers.Dense(4, activity_regularizer=R.L2(0.1))
        return keras.Sequential([keras.Input((6,)), h, layers.Dense(3)], name=name)

    loss = keras.distillation.LogitsDistillation(temperature=2.0)
    model = keras.distillation.Distiller(teacher=net("t"), student=net("s"), distillation_losses=loss)
    return compiled(model, LOGITS)


def with_metrics():
    return compiled(penalized(), LOGITS, metrics=["accuracy"], weighted_metrics=["accuracy"])


def hidden_outputs():
    model, options = wrapped()
    return compiled(model, LOGITS, metrics=["accuracy"], **options)


def siamese_pair():
    model = siamese()
    model.compile("sgd", kp.losses.Contrastive())
    return model


def own_step():
    inputs = keras.Input((6,))
    h = kp.layers.ActivityPenalty(R.L2(kp.schedules.Target(0.1)), name="quiet")(layers.Dense(4)(inputs))
    h = layers.BatchNormalization()(layers.Dropout(0.5)(h))
    model = own_steps.OwnStep(inputs, layers.Dense(1)(h))
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


PAIR = [X, RANDOM.normal(size=X.shape).astype("float32")], (Y == 0).astype("float32")
MODELS = {
    "layers": (lambda: compiled(mlp(), metrics=["accuracy"]), X, Y),
    "by name, metrics": (with_metrics, X, Y),
    "hidden losses": (hidden_outputs, X, Y),
    "recurrent": (lambda: compiled(recurrent()), STEPS, Y),
    "state of its own": (lambda: compiled(Counts(), LOGITS), X, Y),
    "siamese": (siamese_pair, *PAIR),
    "anti-piracy": (anti_piracy, X, Y),
    "own train_step": (own_step, X, X[:, :1]),
    "not compiled": (mlp, X, None),
}
if hasattr(keras, "distillation"):
    MODELS["distiller"] = (distilled, X, Y)
STEPS_OF_AUDIT = [(steps, "step_loss"), (gradients, "slopes")]
by_model = pytest.mark.parametrize("name", MODELS)


def made(name, trained):
    build, x, y = MODELS[name]
    model = build()
    if not model.built:
        model(x)
    if trained and name != "not compiled":
        model.fit(x, y, batch_size=8, verbose=0)
        model.evaluate(x, y, batch_size=8, verbose=0)
    return model, x, y


@by_model
@pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
def test_nothing_is_changed(name, trained):
    model, x, y = made(name, trained)
    before = fingerprint(model)
    audit = kp.audit(model, x, y)
    assert differences(before, fingerprint(model)) == []
    assert [r["verdict"] for r in kp.audit(model, x, y).records] == [r["verdict"] for r in audit.records]


@pytest.mark.parametrize("name", ["hidden losses", "state of its own", "own train_step"])
@pytest.mark.parametrize("place", STEPS_OF_AUDIT, ids=["loss", "gradients"])
def test_nothing_is_changed_by_an_audit_that_raises(name, place, monkeypatch):
    """After each call that runs a part of a step."""
    model, x, y = made(name, True)
    before, works = fingerprint(model), getattr(*place)
    for number in range(1, 9):
        calls = []

        def fails(*args, number=number, calls=calls, **kwargs):
            result = works(*args, **kwargs)
            result = list(result) if place[1] == "slopes" else result
            calls.append(result)
            if len(calls) == number:
                raise MemoryError
            return result

        monkeypatch.setattr(*place, fails)
        try:
            kp.audit(model, x, y)
        except MemoryError:
            assert differences(before, fingerprint(model)) == [], number
        else:
            break
    monkeypatch.undo()
    assert differences(before, fingerprint(model)) == []


@by_model
def test_the_next_log_is_that_without_an_audit(name):
    if name == "not compiled":
        pytest.skip("it has no log")
    model, x, y = made(name, False)
    expected = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
    kp.audit(model, 10 * np.asarray(x[:8]) if not isinstance(x, list) else [10 * a[:8] for a in x], y[:8])
    assert model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True) == expected


class Audits(keras.callbacks.Callback):
    """An audit after each batch and each epoch."""

    def on_train_batch_end(self, batch, logs=None):
        kp.audit(self.model, 3 * X[:4], X[:4, :1])

    on_epoch_end = on_train_batch_end


@pytest.mark.parametrize("build", [own_step, lambda: compiled(Counts(), "mse")], ids=["own step", "Counts"])
def test_training_with_audits_is_training_without(build):
    results = []
    for callbacks in ([], [Audits()]):
        keras.utils.clear_session()  # on Keras 3.12 a seed does not restart the generator of seedless calls
        keras.utils.set_random_seed(0)
        model = build()
        y = X[:, : model.output_shape[-1]] if isinstance(model, own_steps.OwnStep) else X[:, :3]
        history = model.fit(X, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)
        results.append((history.history, [to_numpy(v.value) for v in model.variables]))
    assert results[0][0] == results[1][0]
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_arrays_of_the_caller_stay_as_they_are():
    model = compiled(mlp())
    x, y, weight = X.copy(), Y.copy(), np.linspace(0, 1, 16).astype("float32")
    arrays = [a.copy() for a in (x, y, weight)]
    kp.audit(model, x, y, weight)
    for a, b in zip((x, y, weight), arrays, strict=True):
        np.testing.assert_array_equal(a, b)
