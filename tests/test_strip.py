"""`strip`: penalties of each kind taken off, the rest as it was, for a process without this package."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.models.networks import set_weights
from tests.support.attach_networks import (
    assert_same,
    batch_for,
    blocks,
    branched,
    compile_quickly,
    nested_and_shared,
    outputs,
    penalties_of,
    recurrent,
    sequential,
    subclassed,
)
from tests.support.helpers import fresh_process, to_numpy

R = kp.regularizers
L2 = R.L2(0.1)


def sequences(regularizer):
    """Layers with a penalty as an argument: nested, wrapped, in both directions, in each projection."""
    inner = layers.Dense(3, activation="relu", activity_regularizer=regularizer, kernel_regularizer="l2")
    head = [keras.Input((5, 3)), layers.TimeDistributed(inner)]
    x = keras.Input((5, 3))
    h = layers.Bidirectional(layers.LSTM(3, return_sequences=True, activity_regularizer=regularizer))(x)
    h = layers.MultiHeadAttention(2, 3, activity_regularizer=regularizer)(h, h)
    h = keras.Sequential([*layers_of(h.shape[-1]), *head[1:]], name="head")(h)
    return keras.Model(x, layers.Activation("tanh", activity_regularizer=keras.regularizers.L1(0.1))(h))


def layers_of(features):
    return [keras.Input((5, features)), layers.Dense(3)]


def by_layers():
    x = keras.Input((5, 3))
    h = layers.LSTM(4, return_sequences=True, name="lstm")(layers.Masking()(x))
    h = kp.layers.ActivityPenalty([L2, R.DeCov(0.1)])(h)
    a = layers.Dense(4, name="a")(h)
    h, a = kp.layers.ActivityPenalty(R.Hint(0.1))([h, kp.layers.ActivityPenalty(L2)(a)])
    return keras.Model(x, [layers.Add()([h, a]), kp.layers.ActivityPenalty(L2)(h)])


def wrapped():
    model = kp.penalize(sequential(), {"a": L2})
    model = kp.models.HiddenOutputs(model, hidden=["b"])
    model.compile("sgd", kp.losses.Huber(), hidden_losses={"b": L2})
    return model


MODELS = {
    "argument": lambda: sequences(L2),
    "layers": by_layers,
    "penalize, output": lambda: kp.penalize(nested_and_shared(), {layers.Dense: L2}),
    "penalize, input": lambda: kp.penalize(recurrent(), {"lstm:input": L2, "inner:input": L2}),
    "penalize, preactivation": lambda: kp.penalize(
        branched(), {"conv_?:preactivation": L2, "out:preactivation": L2}
    ),
    "penalize, inside": lambda: kp.penalize(
        blocks(), {"inner": L2, "last:preactivation": L2, "scores:1": L2}
    ),
    "penalize, subclassed": lambda: kp.penalize(subclassed(), {"inner": L2, "block:input": L2}),
    "penalize, twice": lambda: kp.penalize(kp.penalize(blocks(), {"inner": L2}), {"inner": L2, "last": L2}),
    "HiddenOutputs": wrapped,
}


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_left_and_all_else_is_equal(name):
    model = MODELS[name]()
    penalized = getattr(model, "model", model)
    x, description = batch_for(penalized), model.to_json()
    before = outputs(model, x)
    plain = kp.strip(model)
    assert_same(outputs(plain, x), before)
    assert not penalties_of(plain)
    assert "keras_penalties" not in plain.to_json()
    assert not plain.compiled
    assert type(plain).__name__ in ("Sequential", "Functional", "Net")
    assert keras.saving.get_registered_name(type(plain)) in ("Sequential", "Functional", "tests>Net")
    assert [id(v) for v in plain.trainable_variables] == [id(v) for v in penalized.trainable_variables]
    assert {id(v) for v in plain.variables} <= {id(v) for v in penalized.variables}
    assert model.to_json() == description
    assert_same(outputs(model, x), before)


@pytest.mark.default_backend_only
@pytest.mark.parametrize("name", MODELS)
def test_it_exports(name, tmp_path):
    import tensorflow as tf

    model = kp.strip(MODELS[name]())
    x = batch_for(model)
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    for value, expected in zip(tf.nest.flatten(exported.serve(x)), outputs(model, x), strict=True):
        np.testing.assert_allclose(to_numpy(value), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("build", "pattern"),
    [(sequential, "?"), (branched, "conv_?"), (recurrent, "both"), (branched, "out"), (blocks, "inner")],
)
@pytest.mark.parametrize("part", ["", ":input", ":preactivation"])
def test_the_model_before_and_after_are_described_alike(build, pattern, part):
    if part == ":preactivation" and build is recurrent:
        pytest.skip("a recurrent layer has no activation of its own")
    model = build()
    plain = kp.strip(kp.penalize(model, {f"{pattern}{part}": L2}))
    assert plain.to_json() == model.to_json()


@pytest.mark.parametrize("build", [keras.Sequential, keras.Model])
def test_what_the_first_release_took_apart_becomes_one_layer_again(build):
    """It penalized a pre-activation by two layers in place of one, with the penalty between them."""
    x = keras.Input((3,), name="x")
    parts = [
        layers.Dense(4, name="a"),
        kp.layers.ActivityPenalty(L2, name="a_preactivation_penalty"),
        layers.Activation("relu", activity_regularizer="l2", name="a_activation"),
        layers.Activation("tanh", name="b_activation"),
    ]
    h = x
    for part in parts:
        h = part(h)
    model = keras.Sequential([x, *parts]) if build is keras.Sequential else keras.Model(x, h)
    plain = kp.strip(model)
    batch = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    assert_same(outputs(plain, batch), outputs(model, batch))
    assert [layer.name for layer in plain.layers if layer.name != "x"] == ["a", "b_activation"]
    assert plain.get_layer("a").activation is keras.activations.relu
    assert isinstance(plain.get_layer("a").activity_regularizer, keras.regularizers.L2)


def test_regularizers_of_keras_stay():
    bare = kp.strip(sequences(L2))
    config = bare.to_json()
    assert config.count('"L1"') == 1
    assert "L2" in config
    bare(batch_for(bare))
    assert len(bare.losses) == 2


def test_a_penalty_of_ones_own():
    from tests.support.own_penalty import Imbalance

    bare = kp.strip(sequences(Imbalance(0.1)))
    assert "Imbalance" not in bare.to_json()


def test_what_is_trainable_and_types_stay():
    stack = sequential()
    stack.trainable = False
    stack.get_layer("b").trainable = True
    x = keras.Input((6,))
    h = layers.Dense(3, dtype="mixed_bfloat16", name="low")(stack(x))
    model = kp.penalize(keras.Model(x, layers.Dense(2, dtype="float64", name="high")(h)), {"*": L2})
    bare = kp.strip(model)
    paths = [[v.path.split("/")[-2:] for v in m.trainable_variables] for m in (model, bare)]
    assert paths[0] == paths[1]
    assert len(paths[0]) == 6
    assert [bare.get_layer("stack").get_layer(n).trainable for n in "ab"] == [False, True]
    assert [bare.get_layer(n).dtype_policy.name for n in ("low", "high")] == ["mixed_bfloat16", "float64"]


@keras.saving.register_keras_serializable("strip_tests")
class Sample(layers.Layer):
    """Noise at inference too, as in a variational autoencoder."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, inputs):
        return inputs + keras.random.normal(keras.ops.shape(inputs), seed=self.seeds)


def test_random_and_stateful_layers_are_left_where_they_were():
    x = keras.Input(batch_shape=(2, 5, 3))
    h = kp.layers.ActivityPenalty(L2)(layers.GRU(4, stateful=True, name="gru")(x))
    model = keras.Model(x, Sample()(h))
    before = [to_numpy(v) for v in model.variables]
    plain = kp.strip(model)
    for old, new, value in zip(model.variables, plain.variables, before, strict=True):
        assert old is new
        np.testing.assert_array_equal(to_numpy(new), value)


def test_an_unregistered_layer():
    class Local(layers.Layer):
        def call(self, inputs):
            return inputs * 2.0

    x = keras.Input((3,))
    bare = kp.strip(keras.Model(x, kp.layers.ActivityPenalty(L2)(Local()(x))))
    assert type(bare.layers[-1]) is Local


def test_branches_keep_their_own_weights():
    """Without its penalty, a branch is shorter, and Keras lists its layers elsewhere."""
    x = keras.Input((4,))
    b = layers.Dense(4, name="b2")(layers.Dense(4, name="b1")(x))
    a = kp.layers.ActivityPenalty(L2)(layers.Dense(4, name="a")(x))
    model = set_weights(keras.Model(x, layers.Add()([b, a])))
    bare = kp.strip(model)
    for name in ("a", "b1", "b2"):
        np.testing.assert_array_equal(*(to_numpy(m.get_layer(name).kernel) for m in (model, bare)))


LOAD = """
import sys, json, keras, numpy as np
model = keras.saving.load_model("bare.keras")
x = dict(np.load("x.npz"))
print(json.dumps(keras.ops.convert_to_numpy(model(x, training=False)).tolist()))
assert "keras_penalties" not in sys.modules
"""


def test_loaded_by_plain_keras_after_training_with_penalties(tmp_path):
    model = kp.penalize(nested_and_shared(), {layers.Dense: [L2, R.DeCov(0.1)]})
    x = batch_for(model)
    compile_quickly(model, "mse")
    model.fit(x, np.ones((4, 2)), verbose=0)
    bare = kp.strip(model)
    bare.save(tmp_path / "bare.keras")
    np.savez(tmp_path / "x.npz", **x)
    found = json.loads(fresh_process(LOAD, cwd=tmp_path, path=()).splitlines()[-1])
    assert_same([np.array(found, "float32")], outputs(model, x))
