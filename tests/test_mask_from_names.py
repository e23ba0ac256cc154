"""Every name by which a model knows an input names a mask."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.support.helpers import to_numpy

TOKENS = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [1, 1, 1, 1]], "int32")
OTHER = np.array([[0, 1, 1, 0], [0, 0, 1, 0], [1, 0, 0, 1]], "int32")
Y = np.zeros((3, 1), "float32")
L2 = kp.regularizers.L2(0.5)

# The inputs of a model, the data for it, and the names of the input of tokens.
STRUCTURES = {
    "one": (lambda t, o: t, lambda t, o: t, ["tokens"]),
    "list": (lambda t, o: [o, t], lambda t, o: [o, t], ["tokens"]),
    "list by name": (lambda t, o: [o, t], lambda t, o: {"tokens": t, "other": o}, ["tokens"]),
    "dict": (lambda t, o: {"tokens": t, "other": o}, lambda t, o: {"other": o, "tokens": t}, ["tokens"]),
    "other keys": (lambda t, o: {"z": t, "b": o}, lambda t, o: {"b": o, "z": t}, ["tokens", "z"]),
    "one of them": (lambda t, o: {"other": t, "b": o}, lambda t, o: {"b": o, "other": t}, ["tokens"]),
}


def functional(structure):
    tokens = keras.Input((4,), name="tokens", dtype="int32")
    other = keras.Input((4,), name="other", dtype="int32")
    h = layers.Embedding(5, 3, name="embedding")(tokens)
    if structure != "one":
        h = layers.Add()([h, layers.Embedding(5, 3, name="embedding_of_other")(other)])
    h = layers.Dense(2, name="hidden")(h)
    inputs = STRUCTURES[structure][0](tokens, other)
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(h)))


@keras.saving.register_keras_serializable("mask_names")
class OfDict(keras.Model):
    """A model that reads a dict."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = layers.Embedding(5, 3, name="embedding")
        self.hidden, self.out = layers.Dense(2, name="hidden"), layers.Dense(1)

    def call(self, inputs):
        h = self.hidden(self.embedding(inputs["tokens"]) * ops.expand_dims(inputs["weight"], -1))
        return self.out(ops.mean(h, axis=1))


def masked_l2(h):
    return 0.5 * np.sum(np.where(TOKENS[..., None] > 0, to_numpy(h).astype("float64"), 0) ** 2) / len(h)


def evaluated(model, x):
    return model.evaluate(x, Y, verbose=0, return_dict=True)


def check(model, x, name, hidden, tmp_path):
    """`name` names the mask of "hidden", before and after saving, for both ways."""
    penalized = kp.penalize(model, {"hidden": L2}, mask_from=name)
    penalized.compile("sgd", "mse")
    wrapped = kp.models.HiddenOutputs(model, hidden=["hidden"], mask_from=name)
    wrapped.compile("sgd", "mse", hidden_losses={"hidden": L2})
    for trained, key in ((penalized, "hidden_penalty"), (wrapped, "hidden_loss")):
        trained.save(tmp_path / "model.keras")
        for found in (trained, keras.saving.load_model(tmp_path / "model.keras")):
            np.testing.assert_allclose(evaluated(found, x)[key], masked_l2(hidden), rtol=1e-5)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_each_name_of_an_input_of_a_graph(structure, tmp_path):
    model = functional(structure)
    h = model.get_layer("embedding")(TOKENS)
    if structure != "one":
        h = h + model.get_layer("embedding_of_other")(OTHER)
    _, data, names = STRUCTURES[structure]
    for name in names:
        check(model, data(TOKENS, OTHER), name, model.get_layer("hidden")(h), tmp_path)


def test_a_name_of_two_inputs_is_refused():
    with pytest.raises(ValueError, match=r"`mask_from` names 'other', but no.*\['b', 'tokens'\]"):
        kp.penalize(functional("one of them"), {"hidden": L2}, mask_from="other")


def test_a_key_of_the_dict_that_a_subclassed_model_reads(tmp_path):
    model, x = OfDict(), {"tokens": TOKENS, "weight": np.full((3, 4), 2, "float32")}
    model(x)
    hidden = model.hidden(2 * model.embedding(TOKENS))
    check(model, x, "tokens", hidden, tmp_path)
    with pytest.raises(ValueError, match=r"\['inputs', 'tokens', 'weight'\]"):
        kp.penalize(model, {"hidden": L2}, mask_from="tokenss")


@keras.saving.register_keras_serializable("mask_names")
class Lazy(keras.layers.Layer):
    """A layer that creates its layers in `build`."""

    def build(self, shape):
        self.hidden = layers.Dense(2, name="hidden")
        self.hidden.build(shape)

    def call(self, x):
        return self.hidden(x)


@keras.saving.register_keras_serializable("mask_names")
class Around(keras.layers.Layer):
    """A layer without `build` that reads a mask."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.lazy = Lazy(name="lazy")

    def call(self, x, tokens=None):
        return self.lazy(x)


def lazy():
    tokens = keras.Input((4,), dtype="int32")
    h = Around(name="around")(layers.Embedding(5, 3, name="embedding")(tokens), tokens=tokens)
    return keras.Model(tokens, layers.Dense(1)(layers.Flatten()(h)))


def test_a_layer_that_creates_its_layers_when_it_is_built(tmp_path):
    model = lazy()
    hidden = model.get_layer("around").lazy.hidden(model.get_layer("embedding")(TOKENS))
    penalized = kp.penalize(model, {"lazy/hidden": L2}, mask_from="tokens")
    penalized.compile("sgd", "mse")
    penalized.save(tmp_path / "model.keras")
    for found in (penalized, keras.saving.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(evaluated(found, TOKENS)["hidden_penalty"], masked_l2(hidden), rtol=1e-5)


def test_a_model_that_is_penalized_again_with_a_mask(tmp_path):
    model, x = OfDict(), {"tokens": TOKENS, "weight": np.ones((3, 4), "float32")}
    model(x)
    hidden = model.hidden(model.embedding(TOKENS))
    first = kp.penalize(model, {"embedding": L2})
    penalized = kp.penalize(first, {"hidden": L2}, mask_from="tokens")
    penalized.compile("sgd", "mse")
    penalized.save(tmp_path / "model.keras")
    for found in (penalized, keras.saving.load_model(tmp_path / "model.keras")):
        logs = evaluated(found, x)
        np.testing.assert_allclose(logs["hidden_penalty"], masked_l2(hidden), rtol=1e-5)
        assert "embedding_penalty" in logs
