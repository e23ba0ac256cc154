"""`keras.models.clone_model` of a penalized model has the same penalties and masks, or raises an error."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp

TOKENS = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [1, 1, 1, 1]], "int32")
Y = np.zeros((3, 1), "float32")
L2 = kp.regularizers.L2(0.5)


def functional(inner=None):
    tokens = keras.Input((4,), name="tokens", dtype="int32")
    h = layers.Embedding(5, 5, name="embedding")(tokens)
    dense = layers.Dense(5, "relu", name="hidden")
    h = dense(h)
    h = inner(h) if inner else dense(h)
    return keras.Model(tokens, layers.Dense(1, name="out")(layers.Flatten()(h)))


def deep(kind):
    if kind == "sequential":
        return keras.Sequential([keras.Input((4, 5)), layers.Dense(5, "tanh", name="deep")], name="inner")
    x = keras.Input((4, 5))
    return keras.Model(x, layers.Dense(5, "tanh", name="deep")(x), name="inner")


def sequential():
    stack = [layers.Embedding(5, 5), layers.Dense(5, "relu", name="hidden"), layers.Flatten()]
    tokens = keras.Input((4,), name="tokens", dtype="int32")
    return keras.Sequential([tokens, *stack, layers.Dense(1)])


@keras.saving.register_keras_serializable("clones")
class Backbone(keras.Model):
    """A functional model with a constructor of its own, as those of KerasHub."""

    def __init__(self, size=5, **kwargs):
        tokens = keras.Input((4,), name="tokens", dtype="int32")
        h = layers.Dense(size, "relu", name="hidden")(layers.Embedding(5, 5)(tokens))
        super().__init__(inputs=tokens, outputs=layers.Dense(1)(layers.Flatten()(h)), **kwargs)
        self.size = size

    def get_config(self):
        return {"size": self.size, "name": self.name}


MAKERS = {
    "twice": functional,
    "nested": lambda: functional(deep("functional")),
    "nested sequential": lambda: functional(deep("sequential")),
    "sequential": sequential,
    "backbone": Backbone,
}
CASES = [
    *[("twice", key) for key in ("hidden", "hidden@1", "hidden:preactivation", "hidden:input")],
    *[("nested", key) for key in ("hidden:preactivation", "inner/deep", "inner")],
    *[("nested sequential", key) for key in ("inner/deep:preactivation", "inner")],
    *[(kind, key) for kind in ("sequential", "backbone") for key in ("hidden", "hidden:preactivation")],
]


def logs_of(model, weights=None):
    if weights is not None:
        model.set_weights(weights)
    model.compile("sgd", "mse")
    return model.evaluate(TOKENS, Y, verbose=0, return_dict=True)


@pytest.mark.parametrize("mask_from", ["tokens", None])
@pytest.mark.parametrize("kind, key", CASES)
def test_a_clone_has_the_penalties_and_the_mask(kind, key, mask_from, tmp_path):
    penalized = kp.penalize(MAKERS[kind](), {key: L2}, mask_from=mask_from)
    expected = logs_of(penalized)
    assert len(expected) > 1
    weights = penalized.get_weights()
    for recursive in (False, True):
        try:
            clone = keras.models.clone_model(penalized, recursive=recursive)
        except ValueError as error:
            is_lost = mask_from is not None and kind in ("sequential", "backbone")
            assert is_lost or (recursive and key == "inner"), error
            assert "from_config" in str(error)
            clone = type(penalized).from_config(penalized.get_config())
        assert logs_of(clone, weights) == pytest.approx(expected, rel=1e-5)
        assert clone.layers[1] is not penalized.layers[1]
    clone.save(tmp_path / "clone.keras")
    loaded = keras.saving.load_model(tmp_path / "clone.keras")
    assert logs_of(loaded) == pytest.approx(expected, rel=1e-5)
    again = kp.penalize(loaded, {"*mbedding*": L2}, mask_from="tokens")
    assert expected.keys() < logs_of(again).keys()
    assert set(logs_of(kp.strip(again))) == {"loss"}


def test_a_part_of_a_model_keeps_its_penalties_in_a_file(tmp_path):
    """A graph around layers that the penalized model shares with it."""
    penalized = kp.penalize(functional(deep("functional")), {"inner/deep": L2}, mask_from="tokens")
    inner = penalized.get_layer("inner")
    inner.save(tmp_path / "inner.keras")
    loaded = keras.saving.load_model(tmp_path / "inner.keras")
    with pytest.raises(ValueError, match="takes its mask from the input 'tokens', and runs outside"):
        loaded.compile("sgd", "mse")
        loaded.evaluate(np.ones((3, 4, 5), "float32"), np.ones((3, 4, 5), "float32"), verbose=0)
