"""Bad input to `penalize` and `strip`: refused with what was expected, what came and what to do."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.support.attach_networks import nested_and_shared, recurrent, sequential

L2 = kp.regularizers.L2(0.1)


@pytest.mark.parametrize(
    ("penalties", "words"),
    [
        ({"twicee": L2}, "has the name 'twicee', which matches no layer of 'around'.*Did you mean.*twice"),
        ({"encoder/zzz": L2}, "'encoder/zzz', which matches no layer.*Did you mean .*'siamese/encoder'"),
        ({"e*": L2}, r"'e\*', which matches no layer"),  # of a model its layers are meant
        ({layers.Conv2D: L2}, "Conv2D, which matches no layer of 'around'.*It has 4 Dense, 1 Functional"),
        ({"twice@2": L2}, "names 'twice@2', but 'twice' is used 2 time.*Count both from 0"),
        ({"twice:1": L2}, "returns 1 tensor"),
        ({"twice@1:preactivation": L2}, "Name 'siamese/twice:preactivation', which means every use"),
        (
            {"twice:output": L2},
            r"has the name 'twice:output', in which ':output' is not valid. Write a layer's",
        ),
        ({"twice@x": L2}, "in which 'twice@x' is not valid"),
        ({"sum:preactivation": L2}, "Add has no `activation` of its own. Name 'siamese/sum'"),
        ({"twice": L2, "tw*": L2}, r"'siamese/twice' twice, by 'twice' and by 'tw\*'.*list of penalties"),
        ({"twice": L2, "twice@1": L2}, "'siamese/twice' twice, by 'twice' and by 'twice@1'"),
        ({"twice": L2, layers.Dense: L2}, "'siamese/twice' twice, by 'twice' and by Dense"),
        ({}, "must name at least one layer"),
    ],
)
def test_keys(penalties, words):
    with pytest.raises(ValueError, match=f"(?s)`penalties` of penalize.*{words}"):
        kp.penalize(nested_and_shared(), penalties)


@pytest.mark.parametrize(
    ("penalties", "words"),
    [
        ([L2], "`penalties` of penalize must be a dict from names to penalties"),
        ({3: L2}, "A key of `penalties` of penalize must be a layer's name.*Received: 3"),
        ({"twice": 0.1}, r"`penalties\['twice'\]` of penalize must be a penalty.*Received: 0.1"),
        (
            {layers.Dense: kp.regularizers.L2},
            r"`penalties\[Dense\]` of penalize must be a penalty, not its class",
        ),
    ],
)
def test_types(penalties, words):
    with pytest.raises(TypeError, match=f"(?s){words}"):
        kp.penalize(nested_and_shared(), penalties)


def test_a_layer_as_a_key_is_told_its_name():
    model = sequential()
    with pytest.raises(TypeError, match="Write 'a'"):
        kp.penalize(model, {model.get_layer("a"): L2})


@pytest.mark.parametrize(
    ("mask_from", "error", "words"),
    [
        (
            "zzz",
            ValueError,
            "`mask_from` names 'zzz', but no model or layer around 'siamese/twice' has an input.*"
            r"of 'around': \['left', 'right'\]\.$",
        ),
        (3, TypeError, "`mask_from` of penalize must be the name of an input.*Received: 3"),
        (
            {"zzz": "left"},
            ValueError,
            "of penalize has the key 'zzz', which is not a key of `penalties`",
        ),
    ],
)
def test_masks(mask_from, error, words):
    with pytest.raises(error, match=words):
        kp.penalize(nested_and_shared(), {"twice": L2}, mask_from=mask_from)


@pytest.mark.parametrize(
    ("penalties", "words"),
    [
        ({layers.GRUCell: L2}, "is inside 'both/.*GRU runs it in a loop over time"),
        ({"lstm_cell*:input": L2}, "is inside 'lstm': LSTM runs it in a loop over time. Name 'lstm' itself"),
        ({"inner:preactivation": L2}, "is inside 'each_step': TimeDistributed runs it in a loop over time"),
        ({"lstm:preactivation": L2}, "LSTM has no `activation` of its own"),
        ({"inner_": L2}, "Did you mean.*'each_step/inner'"),
    ],
)
def test_layers_in_loops(penalties, words):
    with pytest.raises(ValueError, match=f"(?s){words}"):
        kp.penalize(recurrent(), penalties)


def test_the_cell_of_an_rnn_that_gives_its_last_step():
    x = keras.Input((5, 3))
    model = keras.Model(x, layers.RNN(layers.GRUCell(4, name="cell"), name="rnn")(x))
    with pytest.raises(ValueError, match="RNN runs it in a loop over time.*return_sequences=True"):
        kp.penalize(model, {"cell": L2})


def functional(cls):
    x = keras.Input((3,))
    return cls(x, layers.Dense(2, name="a")(x))


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (lambda: layers.Dense(3), TypeError, "must be a Keras model"),
        (lambda: keras.Sequential([layers.Dense(3)]), ValueError, "must be built"),
    ],
)
@pytest.mark.parametrize("verb", ["penalize", "strip"])
def test_models(verb, model, error, words):
    with pytest.raises(error, match=f"`model` of {verb} .*{words}"):
        kp.penalize(model(), {"a": L2}) if verb == "penalize" else kp.strip(model())


def test_a_wrapper_is_put_around_afterwards():
    model = kp.models.HiddenOutputs(functional(keras.Model), hidden=["a"])
    with pytest.raises(ValueError, match=r"Penalize its `\.model`, and wrap the result"):
        kp.penalize(model, {"a": L2})


def test_strip_cannot_take_away_what_computes():
    a, b = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([a, b], kp.layers.EuclideanDistance()([a, b]))
    with pytest.raises(ValueError, match="that is not a penalty: EuclideanDistance"):
        kp.strip(model)


class Hides(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.penalty = kp.layers.ActivityPenalty(L2, name="hidden_in_code")
        self.inner = layers.Activation("tanh", name="inner")

    def call(self, inputs):
        return self.inner(self.penalty(inputs))


def test_strip_of_a_penalty_in_the_code_of_a_layer():
    x = keras.Input((3,))
    with pytest.raises(ValueError, match="the penalty 'hidden_in_code', which the code of Hides creates"):
        kp.strip(keras.Model(x, Hides()(x)))


def test_a_rematerialized_block():
    with keras.RematScope(mode="full"):
        block = Hides(name="block")
    x = keras.Input((6,))
    model = keras.Model(x, block(x))
    with pytest.raises(ValueError, match="is inside 'block': Hides is rematerialized.*Name 'block' itself"):
        kp.penalize(model, {"block/inner": L2})


class WithoutKwargs(keras.Model):
    """Keras saves it, and cannot load it: its `__init__` takes no `trainable`."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = layers.Dense(4), layers.Dense(1)

    def call(self, x):
        return self.out(self.hidden(x))


@pytest.mark.parametrize("way", ["penalize", "HiddenOutputs", "in a graph"])
def test_a_file_whose_class_cannot_be_created_names_that_class(way, tmp_path):
    x, net = np.ones((2, 3), "float32"), WithoutKwargs()
    net(x)
    if way == "HiddenOutputs":
        model = kp.models.HiddenOutputs(net, hidden=["hidden"])
    else:
        inputs = keras.Input((3,))
        around = keras.Model(inputs, net(inputs)) if way == "in a graph" else net
        model = kp.penalize(around, {"hidden": kp.regularizers.L2(0.1)})
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError) as caught:
        keras.saving.load_model(tmp_path / "model.keras", custom_objects={"WithoutKwargs": WithoutKwargs})
    assert str(caught.value).startswith("A saved object of class WithoutKwargs (")
    assert "**kwargs" in str(caught.value) and "config=" not in str(caught.value)
    expected = [layer.get_weights() for layer in (net.hidden, net.out)]
    for layer in (net.hidden, net.out):
        layer.set_weights([0 * w for w in layer.get_weights()])
    model.load_weights(tmp_path / "model.keras")  # the remedy
    for layer, weights in zip((net.hidden, net.out), expected, strict=True):
        for a, b in zip(layer.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(a, b)
