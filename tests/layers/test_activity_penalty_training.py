"""Whether `training` reaches an ActivityPenalty that needs it: a warning in the step that shows it."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.layers.networks import compiled, data

R = kp.regularizers
SAID = "`training` does not reach the ActivityPenalty 'quiet' in a training step"
rising = keras.optimizers.schedules.PolynomialDecay(0.1, 4, 1.0)
NEEDS_TRAINING = {
    "schedule": lambda: kp.layers.ActivityPenalty(R.L2(rising), name="quiet"),
    "target": lambda: kp.layers.ActivityPenalty([R.L1(kp.schedules.Target(0.5))], name="quiet"),
    "training only": lambda: kp.layers.ActivityPenalty(R.L2(0.1), training_only=True, name="quiet"),
}


class Drops(keras.Model):
    """Its `call` takes no `training`."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.layer, self.out = layers.Dense(4), layer, layers.Dense(1)

    def call(self, x):
        return self.out(self.layer(self.dense(x)))


class PassesOn(Drops):
    def call(self, x, training=None):
        return self.out(self.layer(self.dense(x), training=training))


class Inference(Drops):
    """As for a frozen base with batch normalization."""

    def call(self, x, training=None):
        return self.out(self.layer(self.dense(x), training=False))


def warned(run):
    """Whether `run()` warns of `training`, each time that it could."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run()
    found = [w for w in said if SAID in str(w.message)]
    assert all("def call(self, x, training=None)" in str(w.message) for w in found)
    return [str(w.message) for w in found]


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("model", [Drops, Inference])
@pytest.mark.parametrize("kind", NEEDS_TRAINING)
def test_a_training_step_that_drops_it_warns(kind, model, eager):
    model = compiled(model(NEEDS_TRAINING[kind]()), learning_rate=0.01, run_eagerly=eager)
    x, y = data(8)
    found = warned(lambda: model.fit(x, y, batch_size=4, verbose=0))
    assert found and ("it adds nothing" if kind == "training only" else "does not move") in found[0]


@pytest.mark.parametrize("kind", NEEDS_TRAINING)
def test_a_training_step_that_passes_it_on_does_not(kind):
    model, (x, y) = compiled(PassesOn(NEEDS_TRAINING[kind]()), learning_rate=0.01), data(8)
    assert not warned(lambda: model.fit(x, y, batch_size=4, validation_data=(x, y), verbose=0))
    assert not warned(lambda: (model.evaluate(x, y, verbose=0), model.predict(x, verbose=0)))
    assert not warned(lambda: sum(model(x)) + sum(model.losses))


def test_evaluation_and_plain_calls_do_not_warn():
    model, (x, y) = compiled(Drops(NEEDS_TRAINING["schedule"]())), data(8)
    assert not warned(lambda: (model.evaluate(x, y, verbose=0), model.predict(x, verbose=0)))
    assert not warned(lambda: (model(x), sum(model.losses)))


def test_a_penalty_that_needs_no_training_does_not_warn():
    model, (x, y) = compiled(Drops(kp.layers.ActivityPenalty(R.L2(0.1), name="quiet")), 0.01), data(8)
    assert not warned(lambda: model.fit(x, y, verbose=0))


def test_what_is_left_out_of_evaluation_adds_a_zero_at_most():
    layer = NEEDS_TRAINING["training only"]()
    for training in (False, None):
        layer(np.ones((2, 3), "float32"), training=training)
        assert float(sum(layer.losses)) == 0.0
    layer(np.full((2, 3), np.nan, "float32"), training=False)
    assert float(sum(layer.losses)) == 0.0


def test_a_layer_between_need_not_pass_it_on():
    """Keras passes `training` down through a layer that does not take it."""

    class Between(layers.Layer):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def call(self, x):
            return self.layer(x)

    inputs = keras.Input((3,))
    h = Between(NEEDS_TRAINING["schedule"]())(layers.Dense(3)(inputs))
    model, (x, y) = compiled(keras.Model(inputs, layers.Dense(1)(h)), 0.01), data(8)
    assert not warned(lambda: model.fit(x, y, verbose=0))
