"""A penalty in a saved layer goes where it was, or loading says that it cannot."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.support.attach_networks import Block, Net, logs_of, subclassed

L2 = kp.regularizers.L2(0.5)
X = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")


@keras.saving.register_keras_serializable("tests")
class Around(layers.Layer):
    """A layer without `build`, around one that makes a layer in its own `build`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.block = Block(3, name="block")

    def call(self, x):
        return self.block(x)


@pytest.mark.filterwarnings("ignore:`build")
def test_a_layer_without_build_around_one_that_makes_layers(tmp_path):
    x = keras.Input((6,))
    penalized = kp.penalize(keras.Model(x, Around(name="around")(x)), {"last": L2})
    penalized.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = logs_of(penalized, X)
    assert list(expected) == ["last_penalty"]
    assert logs_of(loaded, X) == pytest.approx(expected, rel=1e-6)


def test_a_model_whose_code_has_changed(tmp_path, monkeypatch):
    """Keras silently continues if `build` of a model fails."""
    kp.penalize(subclassed(), {"inner": L2}).save(tmp_path / "model.keras")
    init = Net.__init__

    def other(self, **kwargs):
        init(self, **kwargs)
        self.block = layers.Dense(6, name="block")

    monkeypatch.setattr(Net, "__init__", other)
    with pytest.raises(ValueError, match="saved with a penalty at .*Has its code changed"):
        keras.saving.load_model(tmp_path / "model.keras")


def test_an_output_that_a_layer_does_not_have():
    """As a file may say: the class of the layer is known once it runs."""
    penalized = kp.penalize(subclassed(), {"inner": L2})
    config = penalized.get_config()
    config["penalties"][0]["part"] = ["output", 10**30]
    again = type(penalized).from_config(config)
    with pytest.raises(ValueError, match="name one of at most 0"):
        again(X)
