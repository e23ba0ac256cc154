"""One model with everything at once, against NumPy: the exact total and the exact log keys."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.models.networks import relu, set_weights
from tests.support import references
from tests.support.helpers import MASKS_AFTER_RECURRENT_LAYERS
from tests.support.own_penalty import Distance

R = kp.regularizers
ROWS, STEPS = 8, 5


def build(squares=keras.regularizers.L2):
    """Two masked sequences through one recurrent encoder, a nested model with two inputs and outputs."""
    start = keras.Input((STEPS, 2))
    sequence, state, _ = layers.LSTM(3, return_sequences=True, return_state=True, name="lstm")(
        layers.Masking()(start)
    )
    codes = kp.layers.ActivityPenalty(R.L2(0.05), name="codes")(sequence)
    head = layers.Dense(3, name="head", activity_regularizer=squares(0.02))(state)
    encoder = keras.Model(start, [codes, head], name="encoder")

    one, two = keras.Input((3,)), keras.Input((3,))
    mix = layers.Dense(4, activation="relu", name="mix")(layers.Concatenate()([one, two]))
    gate = layers.Dense(2, name="gate", kernel_regularizer=keras.regularizers.L1(0.01))(mix)
    joint = keras.Model([one, two], {"mix": mix, "gate": gate}, name="joint")

    inputs = {name: keras.Input((STEPS, 2), name=name) for name in ("left", "right")}
    _, left = encoder(inputs["left"])
    _, right = encoder(inputs["right"])
    joined = joint([left, right])
    outputs = {
        "kind": layers.Softmax(name="kind")(joined["gate"]),
        "score": layers.Dense(1, name="score")(joined["mix"]),
    }
    return set_weights(keras.Model(inputs, outputs)), {"a": left, "b": right}


def data():
    random = np.random.RandomState(5)
    x = {name: random.randn(ROWS, STEPS, 2).astype("float32") for name in ("left", "right")}
    for row in range(ROWS):
        x["left"][row, 1 + row % STEPS :] = 0.0
    y = {
        "kind": np.eye(2)[np.arange(ROWS) % 2].astype("float32"),
        "score": random.randn(ROWS, 1).astype("float32"),
    }
    weights = {"kind": np.linspace(0.5, 1.5, ROWS), "score": np.linspace(2.0, 1.0, ROWS)}
    return x, y, weights


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def lstm(x, kernel, recurrent, bias):
    """Outputs by step, and the last state; steps that are all zeros are passed over."""
    rows, steps, _ = x.shape
    units = recurrent.shape[0]
    h, c, outputs = np.zeros((rows, units)), np.zeros((rows, units)), []
    for t in range(steps):
        z = x[:, t] @ kernel + h @ recurrent + bias
        i, f, g, o = np.split(z, 4, axis=1)
        new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        new_h = sigmoid(o) * np.tanh(new_c)
        valid = np.any(x[:, t] != 0, axis=1)[:, None]
        c, h = np.where(valid, new_c, c), np.where(valid, new_h, h)
        outputs.append(h)
    return np.stack(outputs, axis=1), h


def expected(model, x, y, weights):
    """Every term, by hand."""
    encoder, joint = model.get_layer("encoder"), model.get_layer("joint")
    recurrent = [np.asarray(w, "float64") for w in encoder.get_layer("lstm").get_weights()]
    w_head, b_head = encoder.get_layer("head").get_weights()
    codes, heads, masks = {}, {}, {}
    for side in ("left", "right"):
        codes[side], state = lstm(x[side].astype("float64"), *recurrent)
        heads[side] = state @ w_head + b_head
        masks[side] = np.any(x[side] != 0, axis=2)
    w_mix, b_mix = joint.get_layer("mix").get_weights()
    w_gate, b_gate = joint.get_layer("gate").get_weights()
    w_score, b_score = model.get_layer("score").get_weights()
    mix = relu(np.concatenate([heads["left"], heads["right"]], axis=1) @ w_mix + b_mix)
    logits = mix @ w_gate + b_gate
    kind = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    score = mix @ w_score + b_score
    divided = tuple(int(part) for part in keras.__version__.split(".")[:2]) >= (3, 14)
    stock = sum(0.02 * np.sum(heads[side] ** 2) / (ROWS if divided else 1) for side in heads)
    terms = {
        "kind_loss": np.mean(-np.sum(y["kind"] * np.log(kind), axis=1) * weights["kind"]),
        "score_loss": np.mean(np.mean((y["score"] - score) ** 2, axis=1) * weights["score"]),
        "codes": sum(0.05 * references.l2(codes[side], masks[side]) for side in codes),
        "first_loss": 0.3 * references.l1(codes["left"], masks["left"], per="element"),
        "mix_loss": 0.1 * references.l2(mix) + 0.2 * references.decov(mix),
        "a_b_loss": 0.4 * np.mean(np.sum((heads["left"] - heads["right"]) ** 2, axis=1)),
        "regularization_loss": stock + 0.01 * np.abs(w_gate).sum(),
    }
    terms["main_loss"] = terms["kind_loss"] + terms["score_loss"]
    terms["loss"] = sum(value for key, value in terms.items() if key not in ("kind_loss", "score_loss"))
    return terms


def wrapped(eager=False):
    model, tensors = build()
    hidden = {"first": "encoder@0/lstm", "mix": "joint/mix", **tensors}
    wrapper = kp.models.HiddenOutputs(model, hidden=hidden)
    wrapper.compile(
        keras.optimizers.SGD(0.0),
        {"kind": "categorical_crossentropy", "score": "mse"},
        metrics={"score": ["mae"]},
        hidden_losses={
            "first": R.L1(0.3, per="element"),
            "mix": [R.L2(0.1), R.DeCov(0.2)],
            ("a", "b"): Distance(0.4),
        },
        run_eagerly=eager,
    )
    return wrapper


@MASKS_AFTER_RECURRENT_LAYERS
@pytest.mark.parametrize("eager", [False, True])
def test_the_exact_total_and_the_exact_keys(eager):
    x, y, weights = data()
    model = wrapped(eager)
    terms = expected(model.model, x, y, weights)
    logs = model.evaluate(x, y, sample_weight=weights, batch_size=ROWS, verbose=0, return_dict=True)
    history = model.fit(x, y, sample_weight=weights, batch_size=ROWS, verbose=0).history
    for found in (logs, {key: values[0] for key, values in history.items()}):
        assert set(found) == {*terms, "score_mae"}
        for key, value in terms.items():
            assert float(found[key]) == pytest.approx(value, rel=2e-5), key


@MASKS_AFTER_RECURRENT_LAYERS
def test_saved_it_gives_the_same(tmp_path):
    x, y, weights = data()
    model = wrapped()
    model.save(tmp_path / "everything.keras")
    again = keras.models.load_model(tmp_path / "everything.keras")
    logs = again.evaluate(x, y, sample_weight=weights, batch_size=ROWS, verbose=0, return_dict=True)
    terms = expected(model.model, x, y, weights)
    assert {key: float(logs[key]) for key in terms} == pytest.approx(terms, rel=2e-5)


@pytest.mark.backends("torch")
def test_numbers_that_keras_makes_up_while_it_builds_are_not_looked_at(monkeypatch):
    """On torch Keras passes uninitialized memory when it only infers shapes."""
    import torch

    monkeypatch.setattr(torch, "empty_like", lambda x, **options: torch.full_like(x, 2.0, **options))
    start = keras.Input((3,))
    hidden = layers.Dense(2, activation="sigmoid", name="hidden")(start)
    model = kp.models.HiddenOutputs(keras.Model(start, layers.Dense(1)(hidden)), hidden=["hidden"])
    model.compile("sgd", "mse", hidden_losses={"hidden": R.Entropy(0.1)})
    logs = model.evaluate(np.ones((4, 3)), np.ones((4, 1)), verbose=0, return_dict=True)
    assert np.isfinite(logs["hidden_loss"])
