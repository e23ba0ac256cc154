"""A layer that is held in several places: each use is penalized once, and a name means one tensor."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.support.helpers import to_numpy

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
Y = np.zeros((6, 4), "float32")
L2 = kp.regularizers.L2(0.1)


def dense(layer, x):
    kernel, bias = (to_numpy(v.value).astype("float64") for v in (layer.kernel, layer.bias))
    return x @ kernel + bias


def added(x):
    return 0.1 * np.mean(np.sum(np.square(x), axis=1))


@keras.saving.register_keras_serializable("tests.shared")
class Squashed(layers.Layer):
    def __init__(self, inner=None, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, x):
        return ops.tanh(self.inner(x))


class InCode(keras.Model):
    """Two layers of its own hold the same layer."""

    def __init__(self):
        super().__init__()
        shared = layers.Dense(4, name="shared")
        shared.build((None, 4))
        self.a, self.b = Squashed(shared, name="a"), Squashed(shared, name="b")
        self.built = True

    def call(self, x):
        return self.b(self.a(x))


def part(shared, name):
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Activation("tanh")(shared(inputs)), name=name)


def in_code():
    model = InCode()
    return model, model.a.inner, ["a/shared", "b/shared"]


def in_two_graphs():
    shared, inputs = layers.Dense(4, name="shared"), keras.Input((4,))
    h = part(shared, "b")(part(shared, "a")(inputs))
    return keras.Model(inputs, h), shared, ["a/shared", "b/shared"]


def in_a_graph_and_around():
    shared, inputs = layers.Dense(4, name="shared"), keras.Input((4,))
    return keras.Model(inputs, shared(part(shared, "a")(inputs))), shared, ["a/shared", "shared"]


def twice_in_a_graph():
    shared, inputs = layers.Dense(4, name="shared"), keras.Input((4,))
    h = shared(layers.Activation("tanh")(shared(inputs)))
    return keras.Model(inputs, h), shared, ["shared@0", "shared@1"]


def uses(shared):
    """The two uses, in NumPy."""
    first = dense(shared, X.astype("float64"))
    return [first, dense(shared, np.tanh(first))]


def logs_of(model, **options):
    model.compile("sgd", "mse", **options)
    return model.evaluate(X, Y, verbose=0, return_dict=True)


def penalties(model):
    return sum(value for key, value in logs_of(model).items() if "_penalty" in key)


MODELS = [in_code, in_two_graphs, in_a_graph_and_around, twice_in_a_graph]


@pytest.mark.parametrize("build", MODELS)
@pytest.mark.parametrize("key", ["*shared", layers.Dense, "shar?d"])
def test_each_use_is_penalized_once(build, key):
    model, shared, _ = build()
    expected = sum(map(added, uses(shared)))
    penalized = kp.penalize(model, {key: L2})
    np.testing.assert_allclose(penalties(penalized), expected, rtol=1e-5)
    np.testing.assert_allclose(logs_of(penalized)["loss"] - logs_of(model)["loss"], expected, rtol=1e-4)
    assert not {record["verdict"] for record in kp.audit(penalized, X, Y).records} - {"reaches the gradient"}


@pytest.mark.parametrize("build", MODELS[1:])
def test_a_graph_distinguishes_the_uses(build):
    model, shared, names = build()
    for name, x in zip(names, uses(shared), strict=True):
        np.testing.assert_allclose(penalties(kp.penalize(model, {name: L2})), added(x), rtol=1e-5)
    both = kp.penalize(model, {names[0]: L2, names[1]: kp.regularizers.L2(0.2)})
    first, second = map(added, uses(shared))
    np.testing.assert_allclose(penalties(both), first + 2 * second, rtol=1e-5)


def test_code_does_not_distinguish_the_uses():
    model, shared, names = in_code()
    penalized = kp.penalize(model, {names[0]: L2})
    np.testing.assert_allclose(penalties(penalized), sum(map(added, uses(shared))), rtol=1e-5)
    with pytest.raises(ValueError, match="matches 'b/shared' twice, by 'a/shared' and by 'b/shared'"):
        kp.penalize(model, dict.fromkeys(names, L2))


@pytest.mark.parametrize("build", MODELS)
def test_a_hidden_tensor_is_the_named_one(build):
    model, shared, names = build()
    names = ["a/shared@0", "b/shared@1"] if build is in_code else names
    for name, x in zip(names, uses(shared), strict=True):
        hidden = kp.models.HiddenOutputs(model, {"h": name})
        logs = logs_of(hidden, hidden_losses={"h": L2})
        np.testing.assert_allclose(logs["h_loss"], added(x), rtol=1e-5)


@pytest.mark.parametrize("build", MODELS)
def test_an_unclear_hidden_tensor_is_an_error(build):
    model, _, names = build()
    if "shared" in names:  # the whole path of one
        return
    with pytest.raises(ValueError, match="Give the whole path of one|Say which use"):
        logs_of(kp.models.HiddenOutputs(model, ["shared"]), hidden_losses={"shared": L2})


@pytest.mark.parametrize("build", [in_two_graphs, in_a_graph_and_around])
def test_preactivations_are_not_distinguished_by_place(build):
    model, _, names = build()
    hidden = kp.models.HiddenOutputs(model, [f"{names[0]}:preactivation"])
    with pytest.raises(ValueError, match="Only outputs and inputs can be distinguished by place"):
        logs_of(hidden, hidden_losses={f"{names[0]}:preactivation": L2})


def test_the_symbolic_output_is_the_output():
    model, shared, _ = in_a_graph_and_around()
    hidden = kp.models.HiddenOutputs(model, {"h": model.output})
    logs = logs_of(hidden, hidden_losses={"h": L2})
    np.testing.assert_allclose(logs["h_loss"], added(uses(shared)[1]), rtol=1e-5)
