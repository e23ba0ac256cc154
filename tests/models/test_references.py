"""The hidden tensor that a name means, and the errors if it means none or several."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.models.networks import set_weights
from tests.support.attach_networks import batch_for, blocks, subclassed
from tests.support.helpers import MASKS_AFTER_RECURRENT_LAYERS

HiddenOutputs = kp.models.HiddenOutputs


def nested():
    """A shared encoder, used twice, around a nested block; and a recurrent layer that gives states."""
    start = keras.Input((4,))
    block = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="inner"), layers.Dense(3, name="last")], name="block"
    )
    encoder = keras.Model(start, layers.Dense(2, name="head")(block(start)), name="encoder")
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    a, b = encoder(left), encoder(right)
    steps = keras.Input((5, 2), name="steps")
    sequence, state, _ = layers.LSTM(2, return_sequences=True, return_state=True, name="lstm")(steps)
    pooled = layers.GlobalAveragePooling1D(name="pool")(sequence)
    joined = layers.Concatenate(name="join")([a, b, pooled, state])
    model = keras.Model([left, right, steps], layers.Dense(1, name="out")(joined), name="net")
    return set_weights(model), a, b


def inputs(seed=0):
    random = np.random.RandomState(seed)
    return [random.randn(6, *shape).astype("float32") for shape in ((4,), (4,), (5, 2))]


def dense(x, layer):
    kernel, bias = layer.get_weights()
    return x @ kernel + bias


def measured(model, references, x):
    """The mean square of each hidden tensor, as `HiddenOutputs` sees it."""
    wrapped = HiddenOutputs(model, hidden=references)
    penalty = kp.regularizers.L2(1.0, per="element")
    wrapped.compile(loss="mse", hidden_losses={name: penalty for name in wrapped.hidden})
    logs = wrapped.evaluate(x, np.zeros((6, 1)), verbose=0, return_dict=True)
    return {name: logs[f"{name}_loss"] for name in wrapped.hidden}


def test_paths_uses_outputs_and_tensors():
    model, a, _ = nested()
    x = inputs()
    encoder = model.get_layer("encoder")
    inner = encoder.get_layer("block").get_layer("inner")
    found = measured(
        model,
        {
            "first": "encoder@0/block/inner",
            "second": "encoder@1/block/inner",
            "a": a,
            "b": "encoder@1",
            "state": "lstm:1",
            "steps": "lstm",
            "input": "left",
        },
        x,
    )
    lstm = ops.convert_to_numpy(model.get_layer("lstm")(x[2])[0])
    expected = {
        "first": dense(x[0], inner),
        "second": dense(x[1], inner),
        "a": ops.convert_to_numpy(encoder(x[0])),
        "b": ops.convert_to_numpy(encoder(x[1])),
        "state": lstm[:, -1],
        "steps": lstm,
        "input": x[0],
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], np.mean(np.square(value)), rtol=1e-4, err_msg=name)


def test_a_name_inside_a_nested_model_needs_no_path_where_it_is_the_only_one():
    block = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="inner")], name="block")
    model = keras.Sequential([keras.Input((4,)), block, layers.Dense(1, name="out")])
    assert HiddenOutputs(model, hidden=["inner"]).hidden == {"inner": "block/inner"}


def test_the_wrapped_model_is_left_as_it_was():
    model, _, b = nested()
    x = inputs()
    before = model.get_config(), model.predict(x, verbose=0), len(model.layers)
    wrapped = HiddenOutputs(model, hidden={"inner": "encoder@1/block/inner", "b": b})
    assert wrapped.model is model
    assert (model.get_config(), len(model.layers)) == (before[0], before[2])
    np.testing.assert_array_equal(model.predict(x, verbose=0), before[1])
    np.testing.assert_allclose(wrapped.predict(x, verbose=0), before[1], rtol=1e-6)
    assert [w.path for w in wrapped.trainable_weights] == [w.path for w in model.trainable_weights]


def test_the_ends_of_a_sequential_model_that_was_never_called():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")])
    wrapped = HiddenOutputs(model, hidden=["dense"])
    assert wrapped.input is model.inputs[0]
    assert wrapped.output is model.outputs[0]
    x = np.ones((2, 4), "float32")
    ends = keras.Model(wrapped.input, wrapped.output)
    np.testing.assert_array_equal(ends.predict(x, verbose=0), wrapped.predict(x, verbose=0))


@MASKS_AFTER_RECURRENT_LAYERS
def test_masks_reach_the_penalty():
    steps = keras.Input((4, 2))
    h = layers.LSTM(3, return_sequences=True, name="lstm")(layers.Masking()(steps))
    model = set_weights(keras.Model(steps, layers.Dense(1)(h[:, -1])))
    x = np.random.RandomState(0).randn(5, 4, 2).astype("float32")
    x[:, 2:] = 0.0
    wrapped = HiddenOutputs(model, hidden=["lstm"])
    wrapped.compile(loss="mse", hidden_losses={"lstm": kp.regularizers.L2(1.0)})
    logs = wrapped.evaluate(x, np.zeros((5, 1)), verbose=0, return_dict=True)
    hidden = ops.convert_to_numpy(keras.Model(steps, h)(x))[:, :2]
    np.testing.assert_allclose(logs["lstm_loss"], np.sum(hidden**2) / 5, rtol=1e-5)


class OwnStep(keras.Model):
    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs)


def small(cls=keras.Model):
    x = keras.Input((2,))
    return cls(x, layers.Dense(1, name="dense")(x))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (keras.Model, ValueError, "must be built"),
        (lambda: small(OwnStep), ValueError, "its own `compute_loss`.*Use `keras_penalties.penalize`"),
        (lambda: keras.Sequential([layers.Dense(1)]), ValueError, r"must be built.*keras.Input\(shape\)"),
        (lambda: HiddenOutputs(small()), ValueError, "is already a HiddenOutputs"),
        (lambda: layers.Dense(1), TypeError, "must be a Keras model.*Dense"),
    ],
)
def test_models_that_cannot_be_wrapped(model, error, message):
    with pytest.raises(error, match=message):
        HiddenOutputs(model(), hidden=["dense"])


@pytest.mark.parametrize(
    ("hidden", "error", "message"),
    [
        (["ou"], ValueError, "the name 'ou', which matches no layer of 'net'. Did you mean 'out'"),
        (["encoder"], ValueError, "'encoder' is used 2 times.*'encoder@0', 'encoder@1'"),
        (["encoder/block/inner"], ValueError, "'encoder' is used 2 times"),
        (["inner"], ValueError, "'encoder' is used 2 times|Say which use"),
        (["encoder@2"], ValueError, r"used 2 time\(s\)"),
        (["lstm:3"], ValueError, r"returns 3 tensor\(s\)"),
        (["out", "out"], ValueError, "names 'out' twice"),
        ("out", TypeError, r"must be a list.*Write \['out'\]"),
        ([3], TypeError, "must contain names of layers.*of type int"),
        ({"a": keras.KerasTensor((2, 2))}, ValueError, "on which no output of .* depends"),
    ],
)
def test_names_that_mean_nothing_or_too_much(hidden, error, message):
    model, _, _ = nested()
    with pytest.raises(error, match=message):
        HiddenOutputs(model, hidden=hidden)


def test_a_name_that_two_nested_models_hold():
    first = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="inner")], name="first")
    second = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="inner")], name="second")
    model = keras.Sequential([keras.Input((4,)), first, second])
    with pytest.raises(ValueError, match="several layers.*'first/inner', 'second/inner'"):
        HiddenOutputs(model, hidden=["inner"])


def test_a_layer_of_a_loop_over_time_is_had_at_its_wrapper():
    steps = keras.Input((3, 2))
    h = layers.TimeDistributed(layers.Dense(1, name="inner"), name="each")(steps)
    model = keras.Model(steps, layers.LSTM(2, name="lstm")(h))
    assert HiddenOutputs(model, hidden=["inner"]).hidden == {"inner": "each"}
    with pytest.raises(ValueError, match="'lstm/lstm_cell.*LSTM runs it in a loop over time. Name 'lstm'"):
        HiddenOutputs(model, hidden=[f"lstm/{model.layers[-1].cell.name}"])


@pytest.mark.parametrize("build", [blocks, subclassed])
def test_tensors_inside_layers(build):
    model = build()
    x = batch_for(model)
    block = model.layers[1] if build is blocks else model.block
    names = {
        "before": f"{block.name}/inner:preactivation",
        "inside": f"{block.name}/last",
        "into": f"{block.name}:input",
    }
    wrapped = HiddenOutputs(model, hidden={**names, "second": f"{block.name}/twice@1"})
    np.testing.assert_array_equal(ops.convert_to_numpy(wrapped(x)), ops.convert_to_numpy(model(x)))
    wrapped.compile(loss="mse", hidden_losses={name: kp.regularizers.L2(1.0) for name in wrapped.hidden})
    logs = wrapped.evaluate(x, np.zeros(model(x).shape), verbose=0, return_dict=True)
    before = ops.matmul(x, block.inner.kernel) + block.inner.bias
    first, second = (block.others[1] for _ in range(2))
    after = second(first(ops.relu(before)))
    values = {"before": before, "inside": block.last(after), "into": x, "second": after}
    for name, value in values.items():
        expected = np.sum(ops.convert_to_numpy(value).astype("float64") ** 2) / len(x)
        np.testing.assert_allclose(logs[f"{name}_loss"], expected, rtol=1e-5, err_msg=name)


def test_losses_of_a_layer_that_is_copied_are_counted_once():
    x = keras.Input((3,))
    h = layers.Dense(4, activity_regularizer="l2", kernel_regularizer="l1", name="h")(x)
    model = keras.Model(x, layers.Dense(1)(h))
    batch, y = np.ones((5, 3), "float32"), np.zeros((5, 1), "float32")
    model.compile(loss="mse")
    plain = model.evaluate(batch, y, verbose=0)
    wrapped = HiddenOutputs(model, hidden=["h:preactivation"])
    wrapped.compile(loss="mse")
    np.testing.assert_allclose(wrapped.evaluate(batch, y, verbose=0)[0], plain, rtol=1e-6)


def test_a_pattern_means_several_tensors_each_under_its_own_name():
    wrapped = HiddenOutputs(blocks(), hidden=["block_1/t*", "first/inner"])
    assert list(wrapped.hidden) == ["block_1/twice", "first/inner"]


def test_generated_names_change_when_a_file_is_loaded(tmp_path):
    x = keras.Input((3,))
    model = keras.Model(x, layers.Dense(1)(layers.Dense(2)(layers.Dense(4)(x))))
    wrapped = HiddenOutputs(model, hidden={"middle": model.layers[2].name})
    wrapped.compile("sgd", "mse", hidden_losses={"middle": kp.regularizers.L2(0.1)})
    wrapped.save(tmp_path / "m.keras")
    layers.Dense(1)  # the next names are others
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    batch, y = np.ones((5, 3), "float32"), np.zeros((5, 1), "float32")
    a, b = (m.evaluate(batch, y, verbose=0, return_dict=True) for m in (wrapped, loaded))
    assert a == pytest.approx(b, rel=1e-6)
