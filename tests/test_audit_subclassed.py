"""Subclassed models: `training` that is not passed on, and tensors that no layer has computed."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.support.helpers import BACKEND, KERAS, fresh_process, gradient, tensor, to_numpy
from tests.test_audit import FINE, X

R = kp.regularizers
Y = X[:, :1]
WARM_UP = keras.optimizers.schedules.PolynomialDecay(0.1, 4, 1.0)
NEED_TRAINING = {
    "schedule": lambda: kp.layers.ActivityPenalty(R.L2(WARM_UP), name="quiet"),
    "target": lambda: kp.layers.ActivityPenalty(R.L2(kp.schedules.Target(0.1)), name="quiet"),
    "training_only": lambda: kp.layers.ActivityPenalty(R.L2(0.1), training_only=True, name="quiet"),
}
FIXED = lambda: kp.layers.ActivityPenalty(R.L2(0.1), name="quiet")  # noqa: E731


class Deaf(keras.Model):
    """Its `call` does not know `training`."""

    def __init__(self, inside):
        super().__init__()
        self.hidden, self.inside, self.out = layers.Dense(8), inside, layers.Dense(1)

    def call(self, x):
        return self.out(self.inside(self.hidden(x)))


class Listens(Deaf):
    """Its `call` takes `training` and passes it on."""

    def call(self, x, training=None):
        return self.out(self.inside(self.hidden(x), training=training))


class Keeps(Deaf):
    """Its `call` takes `training` and leaves the rest to Keras, which passes it on outside of JAX."""

    def call(self, x, training=None):
        return self.out(self.inside(self.hidden(x)))


class Block(layers.Layer):
    def __init__(self, inside):
        super().__init__(name="block")
        self.inside = inside

    def call(self, x, training=None):
        return self.inside(x, training=training)


def audited(model):
    model.compile("sgd", "mse")
    (record,) = kp.audit(model, X, Y).records
    return record


@pytest.mark.parametrize("kind", NEED_TRAINING)
def test_training_that_does_not_reach_a_penalty(kind):
    record = audited(Deaf(NEED_TRAINING[kind]()))
    assert record["verdict"] == "training not passed on"
    (why,) = record["why"]
    assert "`training` does not reach 'quiet'" in why
    assert "`call` of Deaf take it, `def call(self, inputs, training=None)`" in why
    effect = "it is left out" if kind == "training_only" else "its strength does not move"
    assert f"so {effect} in `fit`" in why


@pytest.mark.parametrize("kind", NEED_TRAINING)
def test_training_that_does(kind):
    assert "training" not in audited(Listens(NEED_TRAINING[kind]()))["verdict"]
    assert audited(Deaf(FIXED()))["verdict"] == FINE  # it has no use for it


def test_who_does_not_hand_it_on():
    in_block = audited(Deaf(Block(NEED_TRAINING["schedule"]())))
    assert "`call` of Deaf take it" in in_block["why"][0]
    assert "pass it on to 'block'" in in_block["why"][0]
    inputs = keras.Input((8,))
    graph = keras.Model(inputs, NEED_TRAINING["schedule"]()(inputs), name="graph")
    in_graph = audited(Deaf(graph))
    assert "pass it on to 'graph'" in in_graph["why"][0]
    assert audited(Listens(graph))["verdict"] == FINE


@pytest.mark.skipif(KERAS >= (3, 16), reason="Keras 3.16 passes `training` on on JAX too")
@pytest.mark.parametrize("kind", NEED_TRAINING)
def test_training_that_only_jax_does_not_hand_on(kind):
    record = audited(Keeps(NEED_TRAINING[kind]()))
    assert record["verdict"] == ("training not passed on" if BACKEND == "jax" else "differs on JAX")
    assert "pass it on to 'quiet': `(..., training=training)`" in record["why"][0]


def test_what_it_says_is_what_fit_does():
    """The verdict against the strengths that training shows."""
    for model in (Deaf(NEED_TRAINING["schedule"]()), Keeps(NEED_TRAINING["schedule"]()),
                  Listens(NEED_TRAINING["schedule"]())):  # fmt: skip
        verdict = audited(model)["verdict"]
        strengths = model.fit(X, Y, batch_size=4, epochs=2, verbose=0).history["quiet_strength"]
        assert (strengths[1] > strengths[0]) == ("not passed on" not in verdict)


class Quantizer(layers.Layer):
    """Replaces each row by the nearest of a few codes, and passes the gradient to the row."""

    def __init__(self):
        super().__init__(name="vq")
        self.commitment = kp.layers.ActivityPenalty(R.Hint(0.25), name="commitment")
        self.codebook = kp.layers.ActivityPenalty(R.Hint(1.0), name="codebook")

    def build(self, shape):
        self.codes = self.add_weight(shape=(5, shape[-1]), initializer="random_normal", name="codes")

    def nearest(self, x):
        distances = ops.sum(ops.square(x[:, None] - self.codes[None]), axis=-1)
        return ops.take(self.codes, ops.argmin(distances, axis=-1), axis=0)

    def call(self, x):
        codes = self.nearest(x)
        self.commitment([x, codes])
        self.codebook([codes, x])
        return x + ops.stop_gradient(codes - x)


def test_penalties_whose_results_are_unused():
    """A vector quantizer: two penalties on the same two tensors, one of which no layer has made."""
    inputs = keras.Input((6,))
    dense, quantizer = layers.Dense(4), Quantizer()
    model = keras.Model(inputs, layers.Dense(1)(quantizer(dense(inputs))))
    model.compile("sgd", "mse")
    records = {r["name"]: r for r in kp.audit(model, X, Y).records}
    assert {r["verdict"] for r in records.values()} == {FINE}
    x = to_numpy(dense(X))
    codes = to_numpy(quantizer.nearest(tensor(x)))
    slopes = (x - codes) / len(x)  # of the mean of half the squared distances
    np.testing.assert_allclose(records["commitment"]["gradient"], 0.25 * np.linalg.norm(slopes), rtol=1e-5)
    np.testing.assert_allclose(records["codebook"]["gradient"], np.linalg.norm(slopes), rtol=1e-5)


@pytest.mark.parametrize("read", ["first", "second", "raw"])
def test_gradients_at_a_tensor_that_no_layer_made(read):
    """Two penalties on one tensor, whichever of the three the rest of the model reads."""

    class Twice(layers.Layer):
        def __init__(self):
            super().__init__()
            self.first = kp.layers.ActivityPenalty(R.L2(0.1), name="first")
            self.second = kp.layers.ActivityPenalty(R.L1(0.1), name="second")

        def call(self, x):
            raw = ops.tanh(x)
            return {"first": self.first(raw), "second": self.second(raw), "raw": raw}[read]

    inputs = keras.Input((6,))
    dense, out = layers.Dense(4), layers.Dense(1)
    model = keras.Model(inputs, out(Twice()(dense(inputs))))
    model.compile("sgd", "mse")
    first, second = kp.audit(model, X, Y).records
    h = np.tanh(to_numpy(dense(X)))
    np.testing.assert_allclose(first["gradient"], np.linalg.norm(0.2 * h / len(h)), rtol=1e-4)
    np.testing.assert_allclose(second["gradient"], np.linalg.norm(0.1 * np.sign(h) / len(h)), rtol=1e-4)
    assert {first["verdict"], second["verdict"]} == {FINE}
    if read == "raw":  # the main loss goes past both
        assert (first["ratio"], second["ratio"]) == (None, None)
    else:
        of_main = gradient(lambda h: ops.mean(ops.square(out(h) - tensor(Y))), tensor(h))
        np.testing.assert_allclose(first["main_gradient"], np.linalg.norm(of_main), rtol=1e-4)
        np.testing.assert_allclose(second["main_gradient"], np.linalg.norm(of_main), rtol=1e-4)


NNX = """
import os
os.environ["KERAS_NNX_ENABLED"] = "true"
import numpy as np
import keras
import keras_penalties as kp
from tests import test_audit, test_audit_own_step
from tests.support.fingerprints import differences, fingerprint

for model, y in (
    (test_audit.compiled(test_audit.mlp()), test_audit.Y),
    (test_audit_own_step.own(test_audit_own_step.WAYS["layer"], mode="drop"), test_audit_own_step.Y),
):
    before = fingerprint(model)
    audit = kp.audit(model, test_audit.X, y)
    print([r["verdict"] for r in audit.records], differences(before, fingerprint(model)))
    model.fit(test_audit.X, y, verbose=0)
"""


@pytest.mark.backends("jax")
@pytest.mark.needs("flax")
def test_with_layers_that_flax_owns():
    mlp, own = fresh_process(NNX).splitlines()[-2:]
    assert mlp == f"{[FINE] * 3} []"
    assert own == "['dropped'] []"
