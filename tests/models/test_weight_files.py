"""Files of weights: those of a `HiddenOutputs` hold what those of its model hold, at the same places."""

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.support import attach_networks as networks
from tests.support.attach_networks import Block, assert_same, batch_for, outputs


@keras.saving.register_keras_serializable("tests")
class Clashing(networks.Net):
    """A model with a variable, and with layers by names that `HiddenOutputs` has, in lists and in a dict."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.model, self.graph = layers.Dense(6, name="first"), Block(3, name="block")
        self.hidden = [layers.Dense(6, name="a"), layers.Dense(6, name="b")]
        self.terms = {"deep": Inner(name="deep")}
        self.scale = self.add_weight(shape=(6,), initializer="ones", name="scale")

    def call(self, inputs, training=None):
        h = self.model(inputs) * self.scale
        for layer in self.hidden:
            h = layer(h)
        return super().call(self.terms["deep"](self.graph(h, training=training)), training=training)


@keras.saving.register_keras_serializable("tests")
class Inner(keras.Model):
    """A model within a model, with a list of blocks."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [Block(2, name="one"), Block(3, name="two")]

    def call(self, inputs):
        for block in self.blocks:
            inputs = block(inputs)
        return inputs

    def get_config(self):
        return {"name": self.name}


def clashing():
    net = Clashing(name="clashing")
    net(np.zeros((1, 6), "float32"))
    return net


NETWORKS = {  # with a hidden tensor of each
    networks.sequential: "b",
    networks.branched: "out",
    networks.nested_and_shared: "siamese",
    networks.subclassed: "out",
    clashing: "out",
}


@pytest.fixture(params=NETWORKS, ids=lambda make: make.__name__)
def plain_and_wrapped(request):
    """A model, and another one of its kind that is wrapped, both compiled, with a hidden tensor."""
    plain, model = request.param(), request.param()
    wrapped = kp.models.HiddenOutputs(model, hidden=[NETWORKS[request.param]])
    for each, kind in ((model, "rmsprop"), (wrapped, "adam"), (plain, "adam")):
        each.compile(kind)
        each.optimizer.build(each.trainable_variables)
    return plain, wrapped


def contents(file):
    found = {}
    with h5py.File(file) as opened:
        opened.visititems(lambda name, x: found.update({name: np.array(x)}) if hasattr(x, "shape") else None)
    return found


def test_a_file_of_weights_is_laid_out_as_that_of_the_plain_model(plain_and_wrapped, tmp_path):
    plain, wrapped = plain_and_wrapped
    plain.save_weights(tmp_path / "plain.weights.h5")
    wrapped.model.set_weights(plain.get_weights())
    wrapped.save_weights(tmp_path / "wrapped.weights.h5")
    ours, theirs = (contents(tmp_path / f"{kind}.weights.h5") for kind in ("wrapped", "plain"))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        if "seed_generator" not in name:
            np.testing.assert_array_equal(ours[name], value)


@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_files_are_loaded_in_both_directions(plain_and_wrapped, ending, tmp_path):
    for source, target in (plain_and_wrapped, plain_and_wrapped[::-1]):
        x = batch_for(plain_and_wrapped[0])
        source.set_weights(
            [
                np.full_like(w, 0.3) + 0.1 * np.sin(np.arange(w.size)).reshape(w.shape)
                if w.dtype.kind == "f"
                else w
                for w in source.get_weights()
            ]
        )
        (source.save_weights if ending == ".weights.h5" else source.save)(tmp_path / f"file{ending}")
        target.load_weights(tmp_path / f"file{ending}")
        assert_same(outputs(target, x), outputs(source, x))


def test_a_wrapped_model_comes_back_from_its_file(plain_and_wrapped, tmp_path):
    _, wrapped = plain_and_wrapped
    wrapped.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = batch_for(wrapped.model)
    assert_same(outputs(loaded, x), outputs(wrapped, x))
    for ours, theirs in zip(loaded.optimizer.variables, wrapped.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_each_of_several_wrapped_models_within_a_model_is_filed(tmp_path):
    """Keras tells by its `id` what it has filed."""

    class Several(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [kp.models.HiddenOutputs(networks.subclassed(), hidden=["block"]) for _ in range(4)]
            self.built = True

    Several().save_weights(tmp_path / "file.weights.h5")
    assert sum(name.endswith("block/inner/vars/0") for name in contents(tmp_path / "file.weights.h5")) == 4
