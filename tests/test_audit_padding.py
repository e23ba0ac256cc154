"""`audit` finds padding that the model knows of, and that a penalty counts."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.test_mask_from import GIVEN, TOKENS
from tests.test_mask_from import network as network_with

L2 = kp.regularizers.L2(0.1)
FINE = "reaches the gradient"
Y = np.zeros((4, 2), "float32")
INPUTS = {"tokens": TOKENS, "padding_mask": GIVEN}


def network(keras_mask):
    return network_with(keras_mask, mask="padding_mask")


def record_of(model, x=INPUTS, **options):
    model.compile(keras.optimizers.SGD(0.1), "mse", **options)
    (record,) = kp.audit(model, x, Y).records
    return record


def by_name(model, key, **options):
    return kp.penalize(model, {key: L2}, **options), {}


def compiled(model, key, **options):
    return kp.models.HiddenOutputs(model, hidden=[key], **options), {"hidden_losses": {key: L2}}


WAYS = [by_name, compiled]


@pytest.mark.parametrize("attach", WAYS)
def test_an_input_that_is_a_mask(attach):
    """`block/inner` has 4 units, and `padding_mask` drops 6 of 20 steps."""
    model, options = attach(network(keras_mask=False), "block/inner")
    record = record_of(model, **options)
    assert record["verdict"] == "counts padding"
    dropped = 4 * int(np.sum(GIVEN == 0))
    (why,) = record["why"]
    assert f"{dropped} of 80 elements are padding according to the input 'padding_mask'" in why
    assert "mask_from='padding_mask'" in why


@pytest.mark.parametrize("attach", WAYS)
def test_a_mask_that_the_penalty_gets(attach):
    model, options = attach(network(keras_mask=False), "block/inner", mask_from="padding_mask")
    assert record_of(model, **options)["verdict"] == FINE
    model, options = attach(network(keras_mask=True), "block/inner")
    assert record_of(model, **options)["verdict"] == FINE  # it gets a mask, that of Keras


@pytest.mark.parametrize("attach", WAYS)
def test_masks_that_drop_nothing(attach):
    model, options = attach(network(keras_mask=False), "block/inner")
    whole = {"tokens": TOKENS, "padding_mask": np.ones_like(GIVEN)}
    assert record_of(model, whole, **options)["verdict"] == FINE


@pytest.mark.parametrize("key", ["conv", "dense", "out"])
@pytest.mark.parametrize("attach", WAYS)
def test_a_mask_of_keras_that_a_layer_drops(attach, key):
    tokens = keras.Input((5,), dtype="int32")
    h = layers.Embedding(4, 6, mask_zero=True, name="embedding")(tokens)
    h = layers.Conv1D(3, 3, padding="same", name="conv")(h)
    h = layers.Dense(5, name="dense")(h)
    model = keras.Model(tokens, layers.Dense(2, name="out")(layers.GlobalMaxPooling1D()(h)))
    model, options = attach(model, key)
    record = record_of(model, TOKENS, **options)
    assert record["verdict"] == (FINE if key == "out" else "counts padding")
    if key != "out":
        units = {"conv": 3, "dense": 5}[key]
        assert f"{units * np.sum(TOKENS == 0)} of {units * 20} elements" in record["why"][0]
        assert "supports_masking" in record["why"][0]


def test_positions_of_masked_tokens_are_no_mask():
    """KerasHub's masked language models take `mask_positions`: where tokens are, and not which count."""
    tokens, positions = (
        keras.Input((5,), dtype="int32"),
        keras.Input((5,), name="mask_positions", dtype="int32"),
    )
    h = layers.Embedding(4, 6, name="embedding")(tokens)
    out = layers.Dense(2)(layers.Flatten()(h)) + 0.0 * keras.ops.cast(positions[:, :1], "float32")
    model = keras.Model({"tokens": tokens, "mask_positions": positions}, out)
    x = {"tokens": TOKENS, "mask_positions": np.tile([0, 1, 2, 3, 4], (4, 1)).astype("int32")}
    model, options = by_name(model, "embedding")
    assert record_of(model, x, **options)["verdict"] == FINE
