"""Layers in dicts with keys of any kind, and layers that several attributes contain."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.support.helpers import to_numpy

L2 = kp.regularizers.L2(0.1)
X, Y = np.linspace(-1, 1, 20, dtype="float32").reshape(4, 5), np.ones((4, 2), "float32")
KEYS = ["a", "a b", "a.b", "a/b", "up[0]", "*", "größe", "", 0, -1, True, 1.5, None, (1, 2)]


@keras.saving.register_keras_serializable("attribute_keys")
class Heads(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.heads = {key: layers.Dense(2) for key in KEYS}

    def call(self, x):
        return ops.mean(ops.stack([head(x) for head in self.heads.values()]), axis=0)


@keras.saving.register_keras_serializable("attribute_keys")
class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.up = layers.Dense(5)

    def build(self, shape):
        self.up.build(shape)

    def call(self, x):
        return x + self.up(x)


@keras.saving.register_keras_serializable("attribute_keys")
class Aliases(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [Block(), Block()]
        self.alias, self.named = self.blocks[0], {"one": self.blocks[1]}

    def call(self, x):
        return self.blocks[1](self.blocks[0](x))[:, :2]


def logs_of(model):
    model.compile("sgd", "mse")
    return model.evaluate(X, Y, verbose=0, return_dict=True)


def log_key(name):
    return f"{re.sub('[^A-Za-z0-9_-]+', '_', name)}_penalty"


@pytest.mark.parametrize("way", ["name", "compiled"])
def test_a_key_of_a_dict_can_be_of_any_kind(way, tmp_path):
    model = Heads()
    model(X)
    names = {key: f"heads.{key}" for key in KEYS}
    names["*"] = "heads.[*]"  # alone it would match all others too
    if way == "name":
        model = kp.penalize(model, {name: L2 for name in names.values()})
        shown = [layer.name for layer in model._flatten_layers() if type(layer) is kp.layers.ActivityPenalty]
        in_order = {key: name for key, name in zip(KEYS, shown, strict=True)}
        for key in ("a", -1, (1, 2)):
            assert in_order[key] == log_key(f"heads.{key}")
    else:
        hidden = {f"h{i}": name for i, name in enumerate(names.values())}
        model = kp.models.HiddenOutputs(model, hidden=hidden)
        in_order = {key: f"h{i}_loss" for i, key in enumerate(KEYS)}
        model.compile("sgd", "mse", hidden_losses=dict.fromkeys(hidden, L2))
    if way == "name":
        model.compile("sgd", "mse")
    logs = model.evaluate(X, Y, verbose=0, return_dict=True)
    plain = model if way == "name" else model.model
    for key, head in plain.heads.items():
        value = X.astype("float64") @ to_numpy(head.kernel) + to_numpy(head.bias)
        np.testing.assert_allclose(logs[in_order[key]], 0.1 * np.sum(value**2) / 4, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(X, Y, verbose=0, return_dict=True) == pytest.approx(logs, rel=1e-5)


@pytest.mark.parametrize("block", ["alias", "blocks.0", "named.one", "blocks.1", "n*"])
def test_the_log_key_is_the_attribute_that_was_written(block):
    model = Aliases()
    model(X)
    other = "blocks.1" if block in ("alias", "blocks.0") else "blocks.0"
    logs = logs_of(kp.penalize(model, {f"{block}/up": L2, f"{other}/up": L2}))
    written = "named.one" if block == "n*" else block
    assert set(logs) == {"loss", log_key(f"{written}_up"), log_key(f"{other}_up")}


def test_the_suggested_name_is_accepted():
    model = Heads()
    model(X)
    for key in ("a/b", "up[0]"):
        with pytest.raises(ValueError, match=re.escape(f"'heads.{key}'")) as error:
            kp.penalize(model, {f"heds.{key}": L2})
        assert f"heads.{key}" in str(error.value)
        kp.penalize(model, {f"heads.{key}": L2})
