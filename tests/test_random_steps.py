"""Training steps drawn at random that call several models any number of times: logs hold what was read."""

import keras
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import keras_penalties as kp
from tests.support.guide_steps import CallsSeveral

PENALTIES = {
    "L1": lambda strength: kp.regularizers.L1(strength),
    "L2": lambda strength: kp.regularizers.L2(strength, per="element"),
    "DeCov": lambda strength: kp.regularizers.DeCov(strength),
    "of Keras": lambda strength: keras.regularizers.L2(strength),
    "moving": lambda strength: kp.regularizers.L1(
        keras.optimizers.schedules.PolynomialDecay(strength, 5, 2 * strength)
    ),
    "with a target": lambda strength: kp.regularizers.L2(kp.schedules.Target(0.1, initial=strength)),
}
NAMES = st.sampled_from(["quiet", "quiet_1", "total", "quiet_strength"])


class Inside(layers.Layer):
    """A penalty, which is called so many times."""

    def __init__(self, penalty, uses, **kwargs):
        super().__init__(**kwargs)
        self.penalty, self.uses = penalty, uses

    def call(self, x, training=None):
        for _ in range(self.uses):
            x = self.penalty(x, training=training)
        return x


@st.composite
def parts(draw):
    """Models with a few penalties each, one of which may be in all of them."""
    shared = (
        kp.layers.ActivityPenalty(kp.regularizers.L2(0.05), name="quiet") if draw(st.booleans()) else None
    )
    models = []
    for _ in range(draw(st.integers(1, 2))):
        inputs = h = keras.Input((3,))
        for i in range(draw(st.integers(1, 2))):
            penalty = PENALTIES[draw(st.sampled_from(sorted(PENALTIES)))](draw(st.sampled_from([0.01, 0.1])))
            layer = kp.layers.ActivityPenalty(penalty, name=draw(NAMES))
            h = Inside(layer, draw(st.integers(1, 2)), name=f"inside_{i}")(layers.Dense(3)(h))
        if shared is not None:
            h = shared(h)
        models.append(keras.Model(inputs, h))
    return models


calls = st.tuples(st.integers(0, 1), st.sampled_from([0.5, 1.0, 2.0]), st.booleans(), st.booleans())


@given(parts=parts(), calls=st.lists(calls, min_size=1, max_size=4), eager=st.booleans())
def test_the_logs_are_what_was_read(parts, calls, eager):
    calls = [(min(place, len(parts) - 1), *rest) for place, *rest in calls]
    model = CallsSeveral(parts, calls)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=eager)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    seen = Steps()
    model.fit(x, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[seen])
    for logs in seen.logs:
        shown = sum(value for key, value in logs.items() if key in seen.terms)
        np.testing.assert_allclose(shown, logs["mean of read"], rtol=1e-4, atol=1e-6)


class Steps(keras.callbacks.Callback):
    """The logs of each batch, with the mean of what was read so far, and which of their keys are terms."""

    def on_epoch_begin(self, epoch, logs=None):
        self.logs = getattr(self, "logs", [])
        self.read = []

    def on_train_batch_end(self, batch, logs=None):
        self.read.append(float(logs["read"]))
        self.logs.append({**logs, "mean of read": np.mean(self.read)})
        self.terms = {m.name for m in self.model.metrics if getattr(m, "key", None) == ""}
        assert len(set(logs)) == len(self.model.metrics) + 1
