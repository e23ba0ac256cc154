"""One penalty, one number: the same layer, batch and strength, by each way of attaching."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from tests.models.networks import relu
from tests.support import references, references_catalogue
from tests.support.own_penalty import Imbalance
from tests.support.ways import WAYS, added, attach

R = kp.regularizers


def batch(rows, *shape, seed=0):
    return np.random.RandomState(seed).randn(rows, *shape).astype("float32")


def hidden_of(x, **network):
    model, _ = attach("layer", R.L1(0.0), **network)
    kernel, bias = model.get_layer("hidden").get_weights()
    return relu(x @ kernel + bias)


def l2(x):
    return np.sum(np.square(x)) / len(x)


@pytest.mark.parametrize("rows", [1, 5, 50])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("penalty", "formula"),
    [
        (R.L2(0.01), l2),
        (R.L1(0.01), lambda x: np.sum(np.abs(x)) / len(x)),
        (R.L2(0.01, per="element"), lambda x: np.mean(np.square(x))),
        (R.DeCov(0.01), references.decov),
        (Imbalance(0.01), references.imbalance),
    ],
    ids=["L2", "L1", "L2-element", "DeCov", "own"],
)
def test_each_way_adds_strength_times_measure(way, penalty, formula, rows):
    x = batch(rows, 3)
    hidden = hidden_of(x)
    expected = 0.01 * formula(hidden.astype("float64"))
    found = added(way, penalty, x)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-8)
    assert found == pytest.approx(0.01 * float(penalty.measure(hidden)), rel=2e-6, abs=1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_the_docs_example_of_keras_changing_its_mind(way):
    """`L2(0.01)` on 50 rows of fives: 250 on Keras before 3.14, 5 after it, and 0.01 * 5 * 10**2 here."""
    x = np.full((50, 5), 2.0, "float32")
    model, compiled = attach(way, R.L2(0.01), features=5, units=5)
    inner = getattr(model, "model", model)
    inner.get_layer("hidden").set_weights([np.ones((5, 5)), np.zeros(5)])
    model.compile("sgd", loss=None if compiled else (lambda y, p: ops.sum(p * 0.0, axis=-1)), **compiled)
    logs = model.evaluate(x, np.zeros((50, 2)), batch_size=50, verbose=0, return_dict=True)
    assert float(logs["loss"]) == pytest.approx(5.0, rel=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_half_precision_at_activations_of_300(way):
    keras.config.set_dtype_policy("mixed_float16")
    model, compiled = attach(way, R.L2(1e-4), features=3, units=4)
    inner = getattr(model, "model", model)
    inner.get_layer("hidden").set_weights([np.full((3, 4), 100.0), np.zeros(4)])
    inner.get_layer("out").set_weights([np.zeros((4, 2)), np.zeros(2)])
    model.compile(keras.optimizers.SGD(0.0), loss=None if compiled else "mse", **compiled)
    x = np.ones((8, 3), "float32")
    logs = model.train_on_batch(x, np.zeros((8, 2)), return_dict=True)
    assert float(logs["loss"]) == pytest.approx(1e-4 * 4 * 300.0**2, rel=1e-4)  # 36


@pytest.mark.parametrize("way", ["layer", "compiled"])
@pytest.mark.parametrize("penalty", [R.L2(0.1), R.L1(0.1, per="element"), R.DeCov(0.1), Imbalance(0.1)])
def test_ten_padded_steps_change_nothing_where_the_mask_is_seen(way, penalty):
    short = np.abs(batch(6, 5, 3)) + 0.1
    padded = np.concatenate([short, np.zeros((6, 10, 3), "float32")], axis=1)
    plain = added(way, penalty, short, masked=True, steps=5)
    assert added(way, penalty, padded, masked=True, steps=15) == pytest.approx(plain, rel=1e-5)
    assert plain > 0


def test_the_argument_way_sees_no_mask_as_its_docs_say():
    short = np.abs(batch(6, 5, 3)) + 0.1
    padded = np.concatenate([short, np.zeros((6, 10, 3), "float32")], axis=1)
    plain = added("argument", R.L2(0.1), short, masked=True, steps=5)
    assert added("argument", R.L2(0.1), padded, masked=True, steps=15) > plain * 1.001


@pytest.mark.parametrize("way", WAYS)
def test_a_short_last_batch_is_weighted_by_its_rows(way):
    x = batch(11, 3)
    hidden = hidden_of(x)
    expected = 0.1 * l2(hidden)
    assert added(way, R.L2(0.1), x, batch_size=4) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_a_float64_layer_in_a_float32_model(way):
    model, compiled = attach(way, R.L2(0.1))
    inner = getattr(model, "model", model)
    model = keras.models.clone_model(inner, clone_function=_in_float64)
    if way == "compiled":
        model = kp.models.HiddenOutputs(model, hidden=["hidden"])
    model.set_weights(inner.get_weights())
    model.compile(keras.optimizers.SGD(0.0), "mse", **compiled)
    x = batch(6, 3)
    kernel, bias, w_out, b_out = inner.get_weights()
    hidden = relu(x @ kernel + bias)
    expected = np.mean((hidden @ w_out + b_out) ** 2) + 0.1 * l2(hidden)
    logs = model.train_on_batch(x, np.zeros((6, 2), "float32"), return_dict=True)
    assert float(logs["loss"]) == pytest.approx(expected, rel=1e-5)


def _in_float64(layer):
    config = layer.get_config()
    return type(layer).from_config({**config, "dtype": "float64"} if layer.name == "hidden" else config)


def test_of_equal_logits_the_first_are_chosen():
    """By every backend: torch's own choice of the largest differs."""
    x = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 3.0], [2.0, 2.0, 2.0], [-np.inf, 0.0, -np.inf]], "float32")
    for top_k in (1, 2):
        measured = R.LoadBalance(1.0, top_k=top_k).measure(x)
        expected = references_catalogue.load_balance(x, top_k=top_k)
        np.testing.assert_allclose(ops.convert_to_numpy(measured), expected, rtol=1e-6)
