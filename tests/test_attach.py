"""`penalize`: the same weights and outputs, each penalty at its tensor, under a name, saved and trained."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, tree

import keras_penalties as kp
from tests.models.networks import set_weights
from tests.support.attach_networks import (
    assert_same,
    batch_for,
    blocks,
    branched,
    compile_quickly,
    logs_of,
    nested_and_shared,
    outputs,
    penalties_of,
    recurrent,
    sequential,
    subclassed,
)
from tests.support.helpers import MASKS_AFTER_RECURRENT_LAYERS, to_numpy

R = kp.regularizers
L2 = R.L2(0.1)

CASES = {
    "sequential": (sequential, {"?": [L2, R.DeCov(0.1)]}),
    "sequential, input": (sequential, {"?:input": L2}),
    "sequential, preactivation": (sequential, {"?:preactivation": L2}),
    "branched": (branched, {"conv_[bc]": L2, "sum": R.L1(0.1)}),
    "branched, input": (branched, {"conv_*:input": L2, "sum:input:1": R.L1(0.1)}),
    "branched, preactivation": (branched, {"conv_*:preactivation": L2, "out:preactivation": R.L1(0.1)}),
    "nested": (nested_and_shared, {"encoder/?": L2, "twice": R.L1(0.1)}),
    "nested, input": (nested_and_shared, {"siamese:input": R.Hint(0.1), "a:input": L2}),
    "nested, preactivation": (
        nested_and_shared,
        {"twice:preactivation": R.L1(0.1), "encoder/a:preactivation": L2},
    ),
    "recurrent": (recurrent, {"lstm": L2, "lstm:1": R.L1(0.1), "lstm:2": L2, "inner": L2, "both": L2}),
    "subclassed": (subclassed, {"inner": L2, "block/last": L2, "block:input": R.L1(0.1), "twice": L2}),
    "blocks in a graph": (
        blocks,
        {"first/inner": L2, "block_*/last:preactivation": R.L1(0.1), "scores:1": L2},
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request):
    build, penalties = request.param
    model = build()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="With these penalties, Keras lists")
        return model, kp.penalize(model, penalties), batch_for(model)


def train(model, x):
    compile_quickly(model, "mse")
    y = [np.ones(to_numpy(y).shape, "float32") for y in tree.flatten(model(x))]
    model.fit(x, y if len(y) > 1 else y[0], verbose=0)


def test_the_same_weights_and_outputs_and_the_original_as_it_was(case):
    model, penalized, x = case
    description, before = model.to_json(), outputs(model, x)
    assert_same(outputs(penalized, x), before)
    assert not penalized.compiled
    assert penalties_of(penalized)
    assert not penalties_of(model)
    assert {id(v) for v in penalized.weights} == {id(v) for v in model.weights}
    assert {id(v) for v in penalized.trainable_variables} == {id(v) for v in model.trainable_variables}
    assert isinstance(penalized, type(model))
    train(penalized, x)
    assert_same(outputs(model, x), outputs(penalized, x))
    assert any(np.any(a != b) for a, b in zip(outputs(model, x), before, strict=True))
    assert model.to_json() == description


def test_saved_loaded_and_trained_again(case, tmp_path):
    _, penalized, x = case
    penalized.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(outputs(loaded, x), outputs(penalized, x))
    assert penalties_of(loaded) == penalties_of(penalized)
    assert logs_of(loaded, x) == pytest.approx(logs_of(penalized, x), rel=1e-6)
    train(loaded, x)
    assert any(np.any(a != b) for a, b in zip(outputs(loaded, x), outputs(penalized, x), strict=True))


def test_values_at_output_input_and_preactivation():
    model = sequential()
    x = batch_for(model)
    a, b = model.get_layer("a"), model.get_layer("b")
    before_a = x @ to_numpy(a.kernel) + to_numpy(a.bias)
    before_b = to_numpy(model.layers[1](np.maximum(before_a, 0.0), training=False))
    linear_b = before_b @ to_numpy(b.kernel) + to_numpy(b.bias)
    expected = {
        "": {"a_penalty": np.maximum(before_a, 0.0), "b_penalty": to_numpy(model(x))},
        ":input": {"a_input_penalty": x, "b_input_penalty": before_b},
        ":preactivation": {"a_preactivation_penalty": before_a, "b_preactivation_penalty": linear_b},
    }
    for part, tensors in expected.items():
        logs = logs_of(kp.penalize(model, {f"?{part}": L2}), x)
        values = {name: 0.1 * np.sum(t.astype("float64") ** 2) / len(x) for name, t in tensors.items()}
        assert logs == pytest.approx(values, rel=1e-5)


def test_one_step_is_the_step_of_a_layer_written_by_hand():
    def written(by_hand):
        x = keras.Input((6,))
        h = layers.Dense(4, activation="tanh", name="hidden")(x)
        if by_hand:
            h = kp.layers.ActivityPenalty(R.DeCov(3.0), name="hidden_penalty")(h)
        return set_weights(keras.Model(x, layers.Dense(1)(h)))

    models = [written(True), kp.penalize(written(False), {"hidden": R.DeCov(3.0)})]
    x = batch_for(models[0], rows=9)
    logs = []
    for model in models:
        model.compile(keras.optimizers.SGD(0.1), "mse")
        step = model.train_on_batch(x, x[:, :1], return_dict=True)
        logs.append({key: float(value) for key, value in step.items()})
    assert logs[1] == pytest.approx(logs[0], rel=1e-6)
    for a, b in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_a_layer_used_twice_and_a_nested_model_used_twice():
    model = nested_and_shared()
    x = batch_for(model)
    siamese, encoder = model.get_layer("siamese"), model.get_layer("siamese").get_layer("encoder")
    codes = [to_numpy(encoder(x[side])) for side in ("left", "right")]
    used = [to_numpy(siamese.get_layer("twice")(code)) for code in codes]

    def value(tensor):
        return 0.1 * np.sum(tensor.astype("float64") ** 2) / 4

    logs = logs_of(kp.penalize(model, {"twice": L2, "b": L2}), x)
    each = {"twice_penalty": value(used[0]), "twice_penalty_1": value(used[1])}
    assert logs == pytest.approx({**each, "b_penalty": value(codes[0]) + value(codes[1])}, rel=1e-5)
    logs = logs_of(kp.penalize(model, {"twice@1": L2}), x)
    assert logs == pytest.approx({"twice_penalty": value(used[1])}, rel=1e-5)


@pytest.mark.parametrize(
    ("penalties", "names"),
    [
        ({"a": L2}, ["a_penalty"]),  # the whole path of one
        ({"?": L2}, ["a_penalty", "b_penalty", "encoder_a_penalty"]),
        ({"encoder/a": L2}, ["a_penalty"]),
        ({"siamese/encoder/a": L2}, ["a_penalty"]),
        ({"siamese/*": L2}, ["sum_penalty", "twice_penalty", "twice_penalty_1"]),
        ({"siamese": L2}, ["siamese_penalty"]),
        ({layers.Add: L2}, ["sum_penalty"]),
        ({keras.Sequential: L2}, ["encoder_penalty", "encoder_penalty_1"]),
    ],
)
def test_names(penalties, names):
    model = nested_and_shared()
    assert sorted(penalties_of(kp.penalize(model, penalties))) == names


def test_penalties_on_a_penalized_model():
    model = sequential()
    twice = kp.penalize(kp.penalize(model, {"a": L2}), {"a": R.L1(0.1)})
    assert sorted(penalties_of(twice)) == ["a_penalty", "a_penalty_1"]
    x = batch_for(model)
    assert_same(outputs(twice, x), outputs(model, x))
    assert len(logs_of(twice, x)) == 2


@MASKS_AFTER_RECURRENT_LAYERS
def test_padded_steps_are_not_counted():
    x = keras.Input((None, 3))
    h = layers.LSTM(4, return_sequences=True, name="lstm")(layers.Masking()(x))
    model = keras.Model(x, layers.TimeDistributed(layers.Dense(2, name="inner"))(h))
    penalized = kp.penalize(model, {"lstm": L2, "inner": L2})
    short = np.abs(np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")) + 0.1
    padded = np.concatenate([short, np.zeros((4, 6, 3), "float32")], axis=1)
    expected = logs_of(penalized, short)
    assert min(expected.values()) > 0
    assert logs_of(penalized, padded) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("wrap", [layers.TimeDistributed, layers.SpectralNormalization])
def test_outside_of_a_wrapper_where_that_is_the_same(wrap):
    x = keras.Input((5, 3))
    model = keras.Model(x, wrap(layers.Dense(4, name="inner"), name="wrapper")(x))
    batch = batch_for(model)
    for part in ("", ":input"):
        by_wrapper, by_layer = (
            logs_of(kp.penalize(model, {f"{name}{part}": L2}), batch) for name in ("wrapper", "inner")
        )
        assert list(by_wrapper.values()) == pytest.approx(list(by_layer.values()))
        assert min(by_layer.values()) > 0


def test_the_cell_of_an_rnn_that_gives_each_step():
    x = keras.Input((5, 3))
    model = keras.Model(x, layers.RNN(layers.GRUCell(4, name="cell"), return_sequences=True, name="rnn")(x))
    batch = batch_for(model)
    by_cell, by_layer = (logs_of(kp.penalize(model, {name: L2}), batch) for name in ("cell", "rnn"))
    assert by_cell["cell_penalty"] == pytest.approx(by_layer["rnn_penalty"])


def test_a_regularizer_of_keras_stays_behind_the_activation():
    dense = layers.Dense(4, activation="relu", activity_regularizer="l2", kernel_regularizer="l1", name="a")
    model = keras.Sequential([keras.Input((3,)), dense])
    x = batch_for(model)
    model(x)
    expected = sorted(float(loss) for loss in model.losses)
    penalized = kp.penalize(model, {"a:preactivation": R.L2(0.0)})
    penalized(x)
    found = sorted(float(loss) for loss in penalized.losses)
    assert found == pytest.approx([0.0, *expected], rel=1e-6)
    assert dense.activation is keras.activations.relu


def test_frozen_layers_stay_frozen_and_can_be_freed():
    model = sequential()
    model.get_layer("a").trainable = False
    penalized = kp.penalize(model, {"?:preactivation": L2})
    assert len(penalized.trainable_variables) == len(model.trainable_variables) == 4
    penalized.get_layer("a").trainable = True
    assert len(penalized.trainable_variables) == 6
    model = sequential()
    frozen = keras.Sequential([keras.Input((6,)), model, layers.Dense(2, name="head")])
    model.trainable = False
    penalized = kp.penalize(frozen, {"a": L2})
    assert not penalized.get_layer("stack").trainable
    assert len(penalized.trainable_variables) == len(frozen.trainable_variables) == 2


def test_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model = sequential()
    keras.config.set_dtype_policy("float32")
    x = batch_for(model)
    for part in ("", ":preactivation"):
        penalized = kp.penalize(model, {f"?{part}": L2})
        assert_same(outputs(penalized, x), outputs(model, x))
        assert {layer.compute_dtype for layer in penalized.layers if "penalty" not in layer.name} == {
            "float16"
        }


def test_a_compiled_model_stays_compiled_and_the_new_one_is_not():
    model = sequential()
    model.compile("adam", "mse")
    optimizer = model.optimizer
    assert not kp.penalize(model, {"a": L2}).compiled
    assert model.compiled
    assert model.optimizer is optimizer


def test_layers_and_outputs_keep_their_order_and_names():
    x = keras.Input((4,))
    long = layers.Dense(4, name="b2")(layers.Dense(4, name="b1")(x))
    model = keras.Model(x, layers.Add()([long, layers.Dense(4, name="a")(x)]))
    penalized = kp.penalize(model, {"a": L2, "b?": L2, "add*": L2})
    assert [layer.name for layer in penalized.layers] == [layer.name for layer in model.layers]
    assert penalized.output_names == model.output_names
    assert [v.path for v in penalized.variables] == [v.path for v in model.variables]


def test_weight_files_fit_both_ways(case, tmp_path):
    model, penalized, x = case
    before = outputs(model, x)
    for source, target in ((model, penalized), (penalized, model)):
        source.save_weights(tmp_path / "w.weights.h5")
        for variable in target.trainable_variables:
            variable.assign(variable * 0.0)
        target.load_weights(tmp_path / "w.weights.h5")
        assert_same(outputs(target, x), before)


@pytest.mark.default_backend_only
def test_an_exported_model_holds_no_penalty(tmp_path):
    penalized = kp.penalize(nested_and_shared(), {"twice:preactivation": L2})
    penalized.export(tmp_path / "exported", verbose=False)
    import tensorflow as tf

    x = batch_for(penalized)
    exported = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(to_numpy(exported.serve(x)), outputs(penalized, x)[0], rtol=1e-5, atol=1e-6)
