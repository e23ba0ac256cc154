"""`strip` of whatever Keras can load, and of more."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.support.attach_networks import assert_same, batch_for, outputs, penalties_of
from tests.support.models_to_strip import CASES, L2, model_of


@pytest.mark.parametrize("name", CASES)
def test_strips(name):
    model = model_of(name)
    batch = batch_for(model)
    before = outputs(model, batch)
    plain = kp.strip(model)
    assert_same(outputs(plain, batch), before)
    assert_same(outputs(model, batch), before)
    assert not penalties_of(plain)
    assert "keras_penalties" not in plain.to_json()
    assert [id(v) for v in plain.trainable_variables] == [id(v) for v in model.trainable_variables]
    assert {id(v) for v in plain.variables} == {id(v) for v in model.variables}
    assert {layer.name for layer in plain._flatten_layers()} <= {v.name for v in model._flatten_layers()}


def test_regularizers_of_keras_that_were_set_by_hand():
    plain = kp.strip(model_of("regularizers_by_hand"))
    plain(np.ones((2, 4), "float32"))
    assert len(plain.losses) == 2  # of the block's output and of its kernel


@pytest.mark.default_backend_only
def test_vocabularies():
    lookup = layers.StringLookup(output_mode="one_hot")
    lookup.adapt(["a", "b", "c"])
    x = keras.Input((1,), dtype="string")
    model = keras.Model(x, kp.layers.ActivityPenalty(L2)(layers.Dense(2)(lookup(x))))
    batch = np.array([["b"], ["a"], ["z"]])
    assert_same(outputs(kp.strip(model), batch), outputs(model, batch))


@keras.saving.register_keras_serializable("strip_tests")
class Autoencoder(keras.Model):
    """A subclassed model that is given its parts, and says so."""

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder = encoder, decoder

    def call(self, inputs):
        return self.decoder(self.encoder(inputs)[0])

    def get_config(self):
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in PARTS}
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config):
        return cls(**config | {name: keras.saving.deserialize_keras_object(config[name]) for name in PARTS})


PARTS = ("encoder", "decoder")


def autoencoder():
    x = keras.Input((4,))
    code = kp.layers.ActivityPenalty(kp.regularizers.GaussianKL(0.1))(
        [layers.Dense(2)(x), layers.Dense(2)(x)]
    )
    decoder = [keras.Input((2,)), layers.Dense(4, activity_regularizer=L2), kp.layers.ActivityPenalty(L2)]
    return Autoencoder(keras.Model(x, code), keras.Sequential(decoder))


def test_a_subclassed_model(tmp_path):
    model, batch = autoencoder(), np.ones((3, 4), "float32")
    with pytest.raises(ValueError, match="(?s)`model` of strip must be built.*Call it on a batch first"):
        kp.strip(model)
    before = outputs(model, batch)
    plain = kp.strip(model)
    assert type(plain) is Autoencoder
    assert_same(outputs(plain, batch), before)
    assert not plain.losses
    plain.save(tmp_path / "plain.keras")
    assert_same(outputs(keras.saving.load_model(tmp_path / "plain.keras"), batch), before)


def test_a_penalty_under_another_name():
    class Quantizer(layers.Layer):
        def __init__(self, commitment, **kwargs):
            super().__init__(**kwargs)
            self.commitment = commitment

        def call(self, inputs):
            self.add_loss(self.commitment.measure(inputs))
            return inputs

        def get_config(self):
            commitment = keras.saving.serialize_keras_object(self.commitment)
            return {**super().get_config(), "commitment": commitment}

    x = keras.Input((4,))
    words = r"has the penalty L2 as `commitment` of 'q' \(Quantizer\).*Create 'q' without it"
    with pytest.raises(ValueError, match=f"(?s){words}"):
        kp.strip(keras.Model(x, Quantizer(L2, name="q")(x)))
