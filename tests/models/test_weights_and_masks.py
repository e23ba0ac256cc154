"""Weights, masks and reductions of hidden losses: what Keras does with them for an output."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops

import keras_penalties as kp
from tests.models.networks import set_weights
from tests.support.helpers import BACKEND, MASKS_AFTER_RECURRENT_LAYERS, sizes, to_numpy

FEATURES = 3


@keras.saving.register_keras_serializable("tests")
def absolute(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


@keras.saving.register_keras_serializable("tests")
def largest(y_true, y_pred):
    return ops.max(ops.abs(y_true - y_pred))


LOSSES = {
    "by name": lambda reduction: "mse",
    "a function": lambda reduction: absolute,
    "a scalar": lambda reduction: largest,
    "of Keras": lambda reduction: keras.losses.MeanSquaredError(reduction=reduction),
    "of this package": lambda reduction: kp.losses.Huber(0.3, reduction=reduction),
}
REDUCTIONS = ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight"]


@st.composite
def cases(draw):
    steps = draw(st.sampled_from([None, 2, 5]))  # a weight per row and a mask per step differ in rank
    weights = [None, "rows", "column"] if steps is None else [None, "column", "steps", "last axis"]
    return {
        "rows": draw(sizes(2, 6)),
        "steps": steps,
        "masked": steps is not None and draw(st.booleans()),
        "units": draw(st.sampled_from([1, 3])),
        "loss": draw(st.sampled_from(sorted(LOSSES))),
        "reduction": draw(st.sampled_from(REDUCTIONS)),
        "weights": draw(st.sampled_from(weights)),
    }


def network(steps, masked, units):
    """The tensors of a model: its input, a layer of `units`, and its output."""
    start = keras.Input((FEATURES,) if steps is None else (steps, FEATURES))
    h = layers.Masking()(start) if masked else start
    h = (
        layers.Dense(4, "tanh", name="first")(h)
        if steps is None
        else layers.LSTM(4, return_sequences=True)(h)
    )
    hidden = layers.Dense(units, name="aux")(h)
    return start, hidden, layers.Dense(2, name="out")(hidden)


def data(rows, steps, masked, units, weights=None):
    random = np.random.RandomState(rows)
    shape = (rows,) if steps is None else (rows, steps)
    x, y = (random.randn(*shape, n).astype("float32") for n in (FEATURES, units))
    if masked:
        x[0, 1:] = x[-1, -1:] = 0.0
    w = random.rand(*shape).astype("float32")
    shapes = {"rows": w, "steps": w, "column": w.reshape(rows, -1)[:, :1], "last axis": w[..., None]}
    return x, y, shapes.get(weights)


def losses_of(model, x, y, w, rows):
    """The loss in each of three steps of training."""
    options = {"batch_size": rows, "sample_weight": w, "epochs": 3, "shuffle": False, "verbose": 0}
    return model.fit(x, y, **options).history["loss"]


@given(case=cases())
def test_a_hidden_loss_is_the_loss_of_that_tensor_as_an_output(case):
    rows, loss = case["rows"], LOSSES[case["loss"]]
    shape = {key: case[key] for key in ("steps", "masked", "units")}
    x, y, w = data(rows, **shape, weights=case["weights"])
    before = [a.copy() for a in (x, y, w) if a is not None]
    start, hidden, output = network(**shape)
    whole = set_weights(keras.Model(start, output))
    given_weights = whole.get_weights()

    plain = keras.Model(start, hidden)
    plain.compile(keras.optimizers.SGD(0.1), loss(case["reduction"]))
    # On torch a weight per row and a mask per step is an error of Keras, which multiplies them in place.
    expanded = w if w is None or not case["masked"] or w.ndim == 3 else np.broadcast_to(w, x.shape[:2]).copy()
    expected = losses_of(plain, x, y, expanded if BACKEND == "torch" else w, rows)
    expected_weights = plain.get_weights()

    whole.set_weights(given_weights)
    model = kp.models.HiddenOutputs(whole, hidden={"a": "aux", "b": "aux"})
    # The second one gets the same weights, and must not see what the first one did to them.
    losses = {name: loss(case["reduction"]) for name in ("a", "b")}
    model.compile(keras.optimizers.SGD(0.1), hidden_losses=losses, hidden_loss_weights={"a": 0.75, "b": 0.25})
    np.testing.assert_allclose(losses_of(model, x, y, w, rows), expected, rtol=2e-4, atol=1e-6)
    for ours, theirs in zip(model.get_weights(), expected_weights, strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-5)
    for array, copy in zip((a for a in (x, y, w) if a is not None), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@keras.saving.register_keras_serializable("tests")
def joint_square(y_true, y_pred, hidden):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


@keras.saving.register_keras_serializable("tests")
def square(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


@keras.saving.register_keras_serializable("tests")
def joint_scalar(y_true, y_pred, hidden):
    return ops.mean(ops.square(y_true - y_pred))


@keras.saving.register_keras_serializable("tests")
def scalar(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("joint", "alone", "masked"),
    [(joint_square, square, False), (joint_square, square, True), (joint_scalar, scalar, True)],
)
def test_a_joint_loss_is_reduced_as_a_loss_function_of_keras(joint, alone, masked):
    start, _, output = network(4, masked, 2)
    whole = set_weights(keras.Model(start, output))
    model = kp.models.HiddenOutputs(whole, hidden=["aux"])
    plain = keras.Model(start, output)
    for weights in (None, "column", "steps", "last axis"):
        model.compile("sgd", joint_loss=joint)
        plain.compile("sgd", alone)
        for rows in (4, 1):  # as many rows as steps, and one alone
            x, y, w = data(rows, 4, masked, 2, weights)
            full = w if w is None or w.ndim == 3 else np.broadcast_to(w, x.shape[:2]).copy()
            expected = plain.evaluate(x, y, sample_weight=full, verbose=0, return_dict=True)["loss"]
            logs = model.evaluate(x, y, sample_weight=w, verbose=0, return_dict=True)
            assert logs["joint_loss"] == pytest.approx(expected, rel=1e-5), (weights, rows)
            assert logs["loss"] == pytest.approx(expected, rel=1e-5), (weights, rows)


@MASKS_AFTER_RECURRENT_LAYERS
def test_a_weight_per_row_weighs_each_of_its_steps():
    start, _, output = network(4, True, 2)
    model = kp.models.HiddenOutputs(set_weights(keras.Model(start, output)), hidden=["out"])
    model.compile("sgd", hidden_losses={"out": square}, joint_loss=joint_square)
    x, y, w = data(4, 4, True, 2, "column")
    keep = np.any(x != 0, axis=-1)
    errors = np.mean((model.predict(x, verbose=0) - y) ** 2, axis=-1)
    expected = np.sum(errors * w * keep) / keep.sum()
    logs = model.evaluate(x, y, sample_weight=w[:, 0], verbose=0, return_dict=True)
    assert logs["out_loss"] == pytest.approx(expected, rel=1e-5)
    assert logs["joint_loss"] == pytest.approx(expected, rel=1e-5)


@keras.saving.register_keras_serializable("tests")
def between_steps(y_true, hidden):
    return ops.mean(ops.square(hidden[0] - hidden[1]), axis=-1)


def test_a_function_of_two_tensors_does_not_count_padding():
    start = keras.Input((4, FEATURES))
    masked = layers.Masking()(start)
    a, b = (layers.Dense(2, name=name)(masked) for name in ("a", "b"))
    model = kp.models.HiddenOutputs(set_weights(keras.Model(start, layers.Add()([a, b]))), hidden=["a", "b"])
    model.compile("sgd", hidden_losses={("a", "b"): between_steps})
    x, _, w = data(5, 4, True, 2, "steps")
    hidden = keras.Model(start, [a, b]).predict(x, verbose=0)
    keep = np.any(x != 0, axis=-1)
    expected = np.sum(np.mean((hidden[0] - hidden[1]) ** 2, axis=-1) * w * keep) / keep.sum()
    logs = model.evaluate(x, np.zeros((5, 4, 2)), sample_weight=w, verbose=0, return_dict=True)
    assert logs["a_b_loss"] == pytest.approx(expected, rel=1e-5)


class Marked(layers.Layer):
    """Says that rows whose first entry is negative are padding."""

    def compute_mask(self, inputs, previous_mask=None):
        return inputs[..., 0] >= 0.0

    def call(self, inputs):
        return inputs + 0.0


class Weighed(layers.Layer):
    """Hands the mask on."""

    def __init__(self, units):
        super().__init__()
        self.supports_masking, self.dense = True, layers.Dense(units, "softmax")

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.dense(inputs)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((*inputs.shape[:-1], self.dense.units), inputs.dtype)


class MaskedDistance(kp.layers.EuclideanDistance):
    """Hands on the mask of the first row of a pair."""

    def compute_mask(self, inputs, previous_mask=None):
        return previous_mask[0]


def consumers():
    """Each model with a mask on what it compares with labels, and all that takes weights."""
    start = keras.Input((FEATURES,))
    classifier = keras.Model(start, Weighed(3)(Marked()(start)))
    yield "AntiPiracy", kp.models.AntiPiracy(classifier, kp.layers.UniversalPerturbation(0.5)), {}
    encoder = keras.Model(start, Marked()(layers.Dense(2)(start)))
    losses = {"loss": kp.losses.Contrastive(), "weighted_metrics": ["mae", "mse"]}
    yield "Siamese", kp.models.Siamese(encoder, MaskedDistance()), losses
    start = keras.Input((FEATURES,))
    hidden = layers.Dense(3, name="aux")(Marked()(start))
    model = keras.Model(start, Weighed(3)(hidden))
    everything = {
        "loss": "categorical_crossentropy",
        "weighted_metrics": ["mae", "mse"],
        "hidden_losses": {"aux": "mse", "again": keras.losses.MeanAbsoluteError()},
        "joint_loss": joint_square,
    }
    yield "HiddenOutputs", kp.models.HiddenOutputs(model, hidden={"aux": "aux", "again": "aux"}), everything


@pytest.mark.parametrize("kind", ["arrays", "tensors"])
@pytest.mark.parametrize("name", ["AntiPiracy", "Siamese", "HiddenOutputs"])
def test_nothing_that_the_user_gave_is_changed(name, kind):
    model, losses = next((model, losses) for n, model, losses in consumers() if n == name)
    model.compile(**{"optimizer": "sgd", **losses})
    random = np.random.RandomState(0)
    x = random.randn(8, FEATURES).astype("float32")
    y = np.eye(3, dtype="float32")[np.arange(8) % 3]
    if name == "Siamese":
        x, y = [x, x[::-1].copy()], np.array([0.0, 1.0] * 4, "float32")
    data = [*(x if isinstance(x, list) else [x]), y, random.rand(8).astype("float32")]
    before = [a.copy() for a in data]
    given = [ops.convert_to_tensor(a) for a in data] if kind == "tensors" else data
    x, y, w = given[:-2], given[-2], given[-1]
    x = x if len(x) > 1 else x[0]
    logs = [
        model.test_on_batch(x, y, sample_weight=w, return_dict=True),
        model.evaluate(x, y, sample_weight=w, verbose=0, return_dict=True),
        model.train_on_batch(x, y, sample_weight=w, return_dict=True),
    ]
    model.fit(x, y, sample_weight=w, verbose=0)
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(to_numpy(array), copy)
    for key, value in logs[0].items():  # the first step of each sees the same model
        if BACKEND == "jax" and key in ("mae", "mse"):
            continue  # Keras' training step there loses the mask of the predictions before its metrics
        assert [float(log[key]) for log in logs] == pytest.approx([float(value)] * 3, rel=1e-5), key
