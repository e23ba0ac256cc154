"""Derivatives as hidden tensors: values against closed forms and finite differences, for any model."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.models.networks import set_weights

Gradient, R = kp.models.Gradient, kp.regularizers
X = np.random.RandomState(0).uniform(-1.0, 1.0, (6, 3)).astype("float32")
Y = np.zeros((6, 2), "float32")


def network(activation="tanh", dtype=None, **options):
    x = keras.Input((3,), name="x")
    h = layers.Dense(4, activation=activation, name="h", dtype=dtype, **options)(x)
    return set_weights(keras.Model(x, layers.Dense(2, name="logits", dtype=dtype)(h)))


def wrapped(model, penalty=None, loss="mse", run_eagerly=False, **gradients):
    """The model with these gradients, each penalized."""
    model = kp.models.HiddenOutputs(model, gradients)
    losses = {name: penalty or R.L2(1.0) for name in gradients}
    model.compile(keras.optimizers.SGD(0.1), loss, hidden_losses=losses, run_eagerly=run_eagerly)
    return model


def values(model, x=X, y=Y):
    logs = model.evaluate(x, y, batch_size=len(x), verbose=0, return_dict=True)
    return {key.removesuffix("_loss"): float(value) for key, value in logs.items()}


def squares(x):
    return float(np.mean(np.sum(np.square(x).reshape(len(x), -1), axis=1)))


def jacobian(model, x=X):
    """The Jacobian of the logits with respect to the input, `(batch, 3, 2)`, and the hidden layer."""
    w1, b1, w2, _ = (w.astype("float64") for w in model.get_weights())
    h = np.tanh(x @ w1 + b1)
    return np.einsum("nh,dh,ho->ndo", 1 - h**2, w1, w2), h


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_the_sum_a_feature_and_the_whole_jacobian(run_eagerly):
    model = network()
    j, h = jacobian(model)
    w1, _, w2, _ = model.get_weights()
    second = np.einsum("nh,dh,h,h->nd", -2 * h * (1 - h**2), w1, w1.sum(0), w2.sum(1))
    model = wrapped(
        model,
        run_eagerly=run_eagerly,
        total=Gradient("logits", wrt="x"),
        one=Gradient("logits", wrt="x", feature=-1),
        exact=Gradient("logits", wrt="x", projections="exact"),
        of_hidden=Gradient("logits", wrt="h", feature=0),
        curvature=Gradient("total", wrt="x"),
    )
    expected = {
        "total": squares(j.sum(-1)),
        "one": squares(j[..., 1]),
        "exact": squares(j),
        "of_hidden": squares(w2[None, :, 0]),
        "curvature": squares(second),
    }
    found = values(model)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    trained = model.train_on_batch(X, Y, return_dict=True)
    assert {n: float(trained[f"{n}_loss"]) for n in expected} == pytest.approx(expected, rel=1e-5)


def test_a_sigmoid_layer_has_the_contractive_term():
    """Rifai et al. 2011, equation 4: the sum over units of (h (1 - h))**2 times the squared weights."""
    model = network("sigmoid")
    w, b = model.get_weights()[:2]
    h = 1 / (1 + np.exp(-(X @ w + b)))
    expected = np.mean(np.sum((h * (1 - h)) ** 2 * np.sum(w**2, axis=0), axis=1))
    found = values(wrapped(model, slope=Gradient("h", wrt="x", projections="exact")))
    assert found["slope"] == pytest.approx(expected, rel=1e-5)


def test_a_quadratic_has_its_gradient_and_hessian():
    x = keras.Input((3,), name="x")
    y = layers.Dot(1, name="y")([x, x])
    model = wrapped(
        keras.Model(x, layers.Dense(1)(y)), slope=Gradient("y", "x"), second=Gradient("slope", "x", feature=2)
    )
    found = values(model, y=np.zeros((6, 1)))
    assert found["slope"] == pytest.approx(4 * squares(X), rel=1e-5)
    assert found["second"] == pytest.approx(4.0, rel=1e-5)


class Block(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.first = layers.Dense(4, activation="tanh", name="first")
        self.second = layers.Dense(2, name="second")

    def call(self, x):
        return self.second(self.first(x))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = Block(name="block")

    def call(self, inputs):
        return self.block(inputs)


class OfDict(Subclassed):
    def call(self, inputs):
        return self.block(inputs["x"] + 0.0 * inputs["other"])


def called(model, x):
    model(x)
    return set_weights(model)


@pytest.mark.parametrize(
    ("make", "x", "of", "wrt"),
    [
        (lambda: called(Subclassed(), X), X, "second", "inputs"),
        (lambda: called(Subclassed(), X), X, "block", "block/first:input"),
        (lambda: called(Subclassed(), X), X, "second", "block:input"),
        (lambda: called(OfDict(), {"x": X, "other": X}), {"x": X, "other": X}, "block", "x"),
        (lambda: set_weights(keras.Sequential([keras.Input((3,), name="x"), Block()])), X, "second", "x"),
    ],
    ids=["argument", "inner input", "input of a block", "key of a dict", "Sequential"],
)
def test_models_of_any_kind(make, x, of, wrt):
    model = make()
    expected = squares(jacobian(model)[0].sum(-1))
    model = kp.models.HiddenOutputs(model, {"slope": Gradient(of, wrt)})
    model.compile(loss="mse", hidden_losses={"slope": R.L2(1.0)})
    assert float(model.evaluate(x, Y, verbose=0, return_dict=True)["slope_loss"]) == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("wrt", ["block/first", "block/second:input", "block/first:preactivation"])
def test_a_tensor_inside_a_block(wrt):
    model = called(Subclassed(), X)
    w1, b1, w2, _ = model.get_weights()
    slope = np.tile(w2.sum(1), (6, 1))
    if wrt.endswith("preactivation"):
        slope = slope * (1 - np.tanh(X @ w1 + b1) ** 2)
    found = values(wrapped(model, slope=Gradient("block", wrt)))
    assert found["slope"] == pytest.approx(squares(slope), rel=1e-5)


def test_a_use_of_a_shared_layer():
    x = keras.Input((3,), name="x")
    shared = layers.Dense(3, activation="tanh", name="shared")
    model = set_weights(keras.Model(x, layers.Dense(2, name="logits")(shared(shared(x)))))
    w, b, w2, _ = model.get_weights()
    second = np.tanh(np.tanh(X @ w + b) @ w + b)
    after = np.einsum("nh,dh,h->nd", 1 - second**2, w, w2.sum(1))
    found = values(
        wrapped(model, first=Gradient("logits", "shared@0"), last=Gradient("logits", wrt="shared@1"))
    )
    assert found["first"] == pytest.approx(squares(after), rel=1e-5)
    assert found["last"] == pytest.approx(squares(w2.sum(1)[None]), rel=1e-5)


@keras.saving.register_keras_serializable("tests.models.test_gradient")
def mean_slope(y, y_pred, hidden):
    return ops.mean(hidden["slope"], axis=-1)


def test_everything_that_a_hidden_tensor_gets():
    """Losses with labels, metrics, targets, weights, a joint loss, several tensors, a name in the logs."""
    model = kp.models.HiddenOutputs(network(), {"slope": Gradient("logits", "x"), "h": "h"})
    slope = jacobian(model.model)[0].sum(-1)
    model.compile(
        loss="mse",
        hidden_losses={"slope": "mae", ("slope", "slope"): R.Match(1.0, "mse")},
        hidden_loss_weights={"slope": 0.5},
        hidden_targets={"slope": "x"},
        hidden_metrics={"slope": "mse"},
        hidden_names={("slope", "slope"): "same"},
        joint_loss=mean_slope,
    )
    logs = model.evaluate(X, Y, batch_size=6, verbose=0, return_dict=True)
    assert float(logs["slope_loss"]) == pytest.approx(0.5 * np.mean(np.abs(slope - X)), rel=1e-5)
    assert float(logs["slope_mse"]) == pytest.approx(np.mean((slope - X) ** 2), rel=1e-5)
    assert float(logs["joint_loss"]) == pytest.approx(slope.mean(), rel=1e-5)
    assert float(logs["same_loss"]) == pytest.approx(0.0, abs=1e-7)


@keras.saving.register_keras_serializable("tests.models.test_gradient")
class Mixed(layers.Layer):
    """Each step is a sum over all steps."""

    weights_of_steps = np.arange(16.0).reshape(4, 4)

    def __init__(self, **options):
        super().__init__(**options)
        self.supports_masking = True

    def call(self, x):
        return ops.matmul(ops.cast(self.weights_of_steps, x.dtype), x)


def test_masks_of_both_tensors():
    """What the mask of `of` drops is not differentiated, and what that of `wrt` drops is not penalized."""
    x = keras.Input((4, 3), name="x")
    h = Mixed(name="h")(layers.Masking(name="mask")(x))
    model = set_weights(keras.Model(x, layers.Dense(2, name="logits")(h)))
    data = np.random.RandomState(1).randn(2, 4, 3).astype("float32")
    data[0, 2:] = 0.0
    kept = np.array([[1, 1, 0, 0], [1, 1, 1, 1]])
    slope = np.einsum("nt,ts,i->nsi", kept, Mixed.weights_of_steps, model.get_weights()[0].sum(1))
    expected = np.mean(np.sum((slope * kept[..., None]) ** 2, axis=(1, 2)))
    model = wrapped(model, slope=Gradient("logits", wrt="mask"))
    assert values(model, data, np.zeros((2, 4, 2)))["slope"] == pytest.approx(expected, rel=1e-5)
