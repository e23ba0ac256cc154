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
        assert "'conv' (Conv1D), before it, passes no mask on" in record["why"][0]
        assert "or set `supports_masking = True` in 'conv'" in record["why"][0]


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


@keras.saving.register_keras_serializable("tests")
class Residual(layers.Layer):
    """A block of a user's own. The mask of Keras is lost in the addition, unless a layer adds."""

    def __init__(self, adds_by_layer=False, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking, self.adds_by_layer = True, adds_by_layer
        self.norm, self.add = layers.LayerNormalization(name="norm"), layers.Add(name="add")
        self.up, self.down = layers.Dense(7, "relu", name="up"), layers.Dense(6, name="down")

    def build(self, shape):
        self.norm.build(shape)
        self.up.build(shape)
        self.down.build((*shape[:-1], 7))

    def call(self, x):
        h = self.norm(x)
        h = self.add([x, h]) if self.adds_by_layer else x + h
        return x + self.down(self.up(h))

    def get_config(self):
        return {**super().get_config(), "adds_by_layer": self.adds_by_layer}


STEPS = np.random.default_rng(0).normal(size=(4, 5, 6)).astype("float32")
STEPS[TOKENS == 0] = 0.0


def masked_network(inner, features=False):
    """`inner`, a layer or a function, after a mask is made. A layer "up" follows, if the block has none."""
    inputs = keras.Input((5, 6), name="steps") if features else keras.Input((5,), name="words", dtype="int32")
    masking = layers.Masking(name="masking") if features else layers.Embedding(4, 6, mask_zero=True)
    h = inner(masking(inputs))
    h = h if isinstance(inner, Residual) else layers.Dense(7, name="up")(h)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(h)))


def no_mask_after(layer):
    layer.supports_masking = False  # as recurrent layers are from Keras 3.16 on
    return layer


def lstm():
    return no_mask_after(layers.LSTM(6, return_sequences=True, name="lstm"))


BY_INPUT = "Pass `mask_from='words'` to `penalize` or `HiddenOutputs` ('words' is 0 exactly where"
BY_CODE = "the code of 'block' (Residual) drops it before, as an addition `x + y` does. "
BY_LAYER = "'lstm' (LSTM), before it, passes no mask on. "
BY_OPERATION = "the operation 'add', before it, passes no mask on. "
# What drops the mask, whether the inputs are features, and the sentence.
LOSSES = {
    "code": (lambda: Residual(name="block"), False, BY_CODE + BY_INPUT),
    "code, features": (lambda: Residual(name="block"), True, BY_CODE + "Add with `keras.layers.Add()` there"),
    "layer": (lstm, False, BY_LAYER + BY_INPUT),
    "layer, features": (lstm, True, BY_LAYER + "Set `supports_masking = True` in 'lstm', or pass"),
    "operation": (lambda: lambda h: h + 1.0, False, BY_INPUT),
    "operation, features": (lambda: lambda h: h + 1.0, True, "Use a layer in its place that keeps masks"),
}


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("attach", WAYS)
def test_what_drops_the_mask_is_named(attach, kind):
    make, features, sentence = LOSSES[kind]
    model, options = attach(masked_network(make(), features), "up")
    (why,) = record_of(model, STEPS if features else TOKENS, **options)["why"]
    assert f"{7 * np.sum(TOKENS == 0)} of 140 elements are padding" in why
    assert sentence in why
    if kind.startswith("operation"):
        assert "before it, passes no mask on" in why and "the operation 'add" in why


def setting(layer):
    layer.supports_masking = True
    return layer


FOLLOWED = {
    "mask_from": (lambda: Residual(name="block"), False, {"mask_from": "words"}),
    "Add": (lambda: Residual(True, name="block"), True, {}),
    "supports_masking": (lambda: setting(lstm()), True, {}),
    "mask_from after an LSTM": (lstm, False, {"mask_from": "words"}),
    "Add in a graph": (lambda: lambda h: layers.Add()([h, h]), True, {}),
}


@pytest.mark.parametrize("kind", FOLLOWED)
@pytest.mark.parametrize("attach", WAYS)
def test_the_advice_works(attach, kind):
    make, features, options = FOLLOWED[kind]
    model, hidden_losses = attach(masked_network(make(), features), "up", **options)
    record = record_of(model, STEPS if features else TOKENS, **hidden_losses)
    assert record["verdict"] == FINE
    assert (record["elements"], record["masked"]) == (7 * np.sum(TOKENS > 0), 7 * np.sum(TOKENS == 0))


class Net(keras.Model):
    def __init__(self, regularizer=None):
        super().__init__(name="net")
        self.embedding = layers.Embedding(4, 6, mask_zero=True)
        self.block = Residual(name="block")
        self.block.up.activity_regularizer = regularizer
        self.pool, self.out = layers.GlobalAveragePooling1D(), layers.Dense(2)

    def call(self, words):
        return self.out(self.pool(self.block(self.embedding(words))))


def net(**options):
    model = Net(**options)
    model(TOKENS)
    return model


@pytest.mark.parametrize("attach", WAYS)
def test_an_argument_of_call_is_for_penalize_alone(attach):
    model, options = attach(net(), "up")
    (why,) = record_of(model, TOKENS, **options)["why"]
    assert "Pass `mask_from='words'` to `penalize` ('words' is" in why
    assert record_of(by_name(net(), "up", mask_from="words")[0], TOKENS)["verdict"] == FINE


def test_an_argument_inside_a_block():
    (why,) = record_of(net(regularizer=L2), TOKENS)["why"]
    assert "`mask_from='words'` to `penalize` in place of the `activity_regularizer=`" in why


class Passing(layers.Layer):
    """A block that gets the mask of Keras as an argument."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking, self.up = True, layers.Dense(7, name="up")

    def call(self, x, mask=None):
        return self.up(x + 1.0)


@pytest.mark.parametrize("attach", WAYS)
def test_a_mask_that_a_block_gets(attach):
    def network():
        steps = keras.Input((5, 6))
        h = Passing(name="block")(layers.Masking()(steps))
        return keras.Model(steps, layers.Dense(2)(layers.GlobalAveragePooling1D()(h)))

    model, options = attach(network(), "up")
    (why,) = record_of(model, STEPS, **options)["why"]
    assert "Pass `mask_from='mask'` to `penalize` or `HiddenOutputs` ('mask' is 0" in why
    model, options = attach(network(), "up", mask_from="mask")
    record = record_of(model, STEPS, **options)
    assert (record["verdict"], record["masked"]) == (FINE, 7 * np.sum(TOKENS == 0))
