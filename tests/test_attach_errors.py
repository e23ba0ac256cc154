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
        ({"twicee": L2}, "has the key 'twicee', which matches no layer of 'around'.*Did you mean.*twice"),
        ({"encoder/zzz": L2}, "'encoder/zzz', which matches no layer.*Did you mean .*'siamese/encoder'"),
        ({"e*": L2}, r"'e\*', which matches no layer"),  # of a model its layers are meant
        ({layers.Conv2D: L2}, "Conv2D, which matches no layer of 'around'.*It has 4 Dense, 1 Functional"),
        ({"left": L2}, "'left'.*It is an input or a penalty"),
        ({"twice@2": L2}, "has the key 'twice@2', and 'twice' is used 2 time.*Count both from 0"),
        ({"twice:1": L2}, "gives 1 tensor"),
        ({"twice": L2, "tw*": L2}, r"'siamese/twice' twice, by 'twice' and by 'tw\*'.*list of penalties"),
        ({"twice": L2, "twice@1": L2}, "'siamese/twice' twice, by 'twice' and by 'twice@1'"),
        ({"twice": L2, layers.Dense: L2}, "'siamese/twice' twice, by 'twice' and by Dense"),
        ({}, "must name one layer at least"),
    ],
)
def test_keys(penalties, words):
    with pytest.raises(ValueError, match=f"(?s)`penalties` of penalize.*{words}"):
        kp.penalize(nested_and_shared(), penalties)


@pytest.mark.parametrize(
    ("penalties", "words"),
    [
        ([L2], "`penalties` of penalize must be a dict of pattern to penalty"),
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


@pytest.mark.parametrize("where", ["outputs", "pre-activation", None])
def test_where(where):
    with pytest.raises(ValueError, match=r"`where` of penalize must be one of 'output'.*Received: where="):
        kp.penalize(sequential(), {"a": L2}, where=where)


@pytest.mark.parametrize(
    ("penalties", "where", "words"),
    [
        ({layers.GRU: L2}, "output", "'both': Bidirectional mixes both directions. Name 'both' itself"),
        ({layers.GRUCell: L2}, "output", "inside 'both'"),
        ({layers.LSTMCell: L2}, "input", "'lstm': LSTM runs it in a loop over time. Name 'lstm' itself"),
        ({"inner": L2}, "preactivation", "TimeDistributed takes no layer apart. Give 'inner' no activation"),
        ({"lstm": L2}, "preactivation", r"'lstm' \(LSTM\), which has no activation to be taken apart"),
        ({"inner_": L2}, "output", "Did you mean.*'each_step/inner'"),
    ],
)
def test_layers_inside_others(penalties, where, words):
    with pytest.raises(ValueError, match=f"(?s){words}"):
        kp.penalize(recurrent(), penalties, where)


def test_the_cell_of_an_rnn_that_gives_its_last_step():
    x = keras.Input((5, 3))
    model = keras.Model(x, layers.RNN(layers.GRUCell(4, name="cell"), name="rnn")(x))
    with pytest.raises(ValueError, match="RNN runs it in a loop over time.*return_sequences=True"):
        kp.penalize(model, {"cell": L2})


class OwnCall(keras.Model):
    def call(self, inputs):
        return inputs


class OwnStep(keras.Model):
    def train_step(self, data):
        return {}


def functional(cls):
    x = keras.Input((3,))
    return cls(x, layers.Dense(2, name="a")(x))


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (lambda: layers.Dense(3), TypeError, "must be a Keras model"),
        (OwnCall, ValueError, "is a subclassed one"),
        (lambda: keras.Sequential([layers.Dense(3)]), ValueError, "must be built"),
    ],
)
@pytest.mark.parametrize("verb", ["penalize", "strip"])
def test_models(verb, model, error, words):
    with pytest.raises(error, match=f"`model` of {verb} .*{words}"):
        kp.penalize(model(), {"a": L2}) if verb == "penalize" else kp.strip(model())


def test_a_training_step_would_be_lost():
    with pytest.raises(ValueError, match="has its own `train_step`, which penalize would pass over"):
        kp.penalize(functional(OwnStep), {"a": L2})


def test_a_wrapper_is_put_around_afterwards():
    model = kp.models.HiddenOutputs(functional(keras.Model), hidden=["a"])
    with pytest.raises(ValueError, match=r"Penalize its `\.model`, and wrap the result"):
        kp.penalize(model, {"a": L2})


def test_strip_cannot_take_away_what_computes():
    a, b = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([a, b], kp.layers.EuclideanDistance()([a, b]))
    with pytest.raises(ValueError, match="that are no penalties: EuclideanDistance"):
        kp.strip(model)


class Hides(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.penalty = kp.layers.ActivityPenalty(L2, name="hidden_in_code")

    def call(self, inputs):
        return self.penalty(inputs)


class Forgets(layers.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {"name": self.name}


class Lookup(layers.Layer):
    def call(self, inputs):
        if inputs.shape[1] not in (None, 5):
            raise ValueError("five are needed")
        return inputs * 1.0

    def compute_output_shape(self, input_shape):  # which torch finds by a call otherwise
        return input_shape


def test_strip_of_layers_that_do_not_say_all():
    x = keras.Input((3,))
    with pytest.raises(ValueError, match="has the penalty 'hidden_in_code' in the code of Hides"):
        kp.strip(keras.Model(x, Hides()(x)))
    with pytest.raises(
        ValueError, match="strip found no plain model that does what 'm' does: output 0 differs"
    ):
        kp.strip(keras.Model(x, Forgets(2.0)(x), name="m"))


def test_strip_of_a_model_that_runs_on_few_batches():
    x = keras.Input((None,))
    model = keras.Model(x, Lookup()(kp.layers.ActivityPenalty(L2)(x)), name="m")
    with pytest.raises(
        ValueError, match=r"'m' does not run on a batch of random numbers.*strip\(model, batch=x\)"
    ):
        kp.strip(model)
    bare = kp.strip(model, batch=np.ones((2, 5), "float32"))
    assert len(bare.layers) == 2
