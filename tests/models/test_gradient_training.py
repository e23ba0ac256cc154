"""Derivatives as hidden tensors in training: directions, state, precision, steps by finite differences."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.models.networks import set_weights
from tests.models.test_gradient import X, Y, jacobian, network, squares, values, wrapped
from tests.support.helpers import BACKEND, KERAS, float64, fresh_process, to_numpy

Gradient, R = kp.models.Gradient, kp.regularizers


def test_random_directions_estimate_the_jacobian():
    """The mean over many directions, and the length of each."""
    model = network()
    expected = squares(jacobian(model)[0])
    model = wrapped(model, slope=Gradient("logits", "x", projections=4, seed=3))
    model.optimizer.learning_rate = 0.0
    found = [float(model.train_on_batch(X, Y, return_dict=True)["slope_loss"]) for _ in range(60)]
    # Of two features, a squared projection has a standard deviation of at most 0.71 of its mean.
    assert np.mean(found) == pytest.approx(expected, rel=4 * 0.71 / np.sqrt(60 * 4))
    assert np.std(found) > 0
    directions = kp.models._gradient.Directions(Gradient("logits", "x", projections=4), "slope")
    drawn = to_numpy(directions.draw(ops.zeros((5, 2, 3)), training=True))
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=-1), np.sqrt(6 / 4), rtol=1e-5)


LOAD = """
import keras, numpy as np, keras_penalties
model, x = keras.saving.load_model("{folder}/model.keras"), np.load("{folder}/x.npy")
logs = model.evaluate(x, np.zeros((6, 2)), batch_size=6, verbose=0, return_dict=True)
print(model.hidden, float(logs["slope_loss"]))
"""


def test_directions_move_once_in_each_training_step_and_are_saved(tmp_path):
    model = wrapped(network(), slope=Gradient("logits", "x", projections=1, seed=7))
    model.optimizer.learning_rate = 0.0
    first = values(model)["slope"]
    assert values(model)["slope"] == first  # evaluating does not move them
    assert float(model.train_on_batch(X, Y, return_dict=True)["slope_loss"]) == pytest.approx(first, rel=1e-6)
    assert values(model)["slope"] != pytest.approx(first, rel=1e-3)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert values(again)["slope"] == pytest.approx(values(model)["slope"], rel=1e-6)
    np.save(tmp_path / "x.npy", X)
    printed = fresh_process(LOAD.format(folder=str(tmp_path))).splitlines()[-1]
    assert printed.startswith("{'slope': Gradient('logits', wrt='x', projections=1, seed=7)}")
    assert float(printed.split()[-1]) == pytest.approx(values(model)["slope"], rel=1e-6)


def noisy():
    """Batch normalization, dropout with a seed, and a penalty with a schedule inside."""
    x = keras.Input((3,), name="x")
    h = layers.BatchNormalization(name="norm")(layers.Dense(4, name="h")(x))
    h = layers.Dropout(0.25, seed=5)(layers.Activation("tanh")(h))
    moving = keras.optimizers.schedules.PolynomialDecay(0.0, 10, 0.1)
    h = kp.layers.ActivityPenalty(R.L2(moving), name="quiet")(h)
    return set_weights(keras.Model(x, layers.Dense(2, name="logits")(h)))


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_the_state_of_the_model_moves_once(run_eagerly):
    """All but the gradient's own terms is as without it: outputs, statistics, seeds, strengths, logs."""
    plain = kp.models.HiddenOutputs(noisy())
    plain.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=run_eagerly)
    with_gradients = kp.models.HiddenOutputs(noisy(), {"slope": Gradient("logits", "x")})
    with_gradients.compile(
        keras.optimizers.SGD(0.1), "mse", hidden_losses={"slope": R.L2(0.0)}, run_eagerly=run_eagerly
    )
    logs = [
        m.fit(X, Y, batch_size=3, epochs=2, shuffle=False, verbose=0).history for m in (plain, with_gradients)
    ]
    assert set(logs[1]) - set(logs[0]) == {"slope_loss"}
    for key, expected in logs[0].items():
        np.testing.assert_allclose(logs[1][key], expected, rtol=1e-5, err_msg=key)
    for a, b in zip(plain.variables, with_gradients.variables, strict=True):
        if "seed" not in a.path or BACKEND != "jax":
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6, err_msg=a.path)


@pytest.mark.skipif(KERAS < (3, 15), reason="a plain model of Keras fails the same comparison there")
def test_a_training_step_against_finite_differences():
    """In float64, with batch normalization, dropout, curvature and directions: the step that SGD takes is the
    slope of the loss with respect to each weight."""
    with float64():
        before = keras.config.floatx(), keras.config.dtype_policy()
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        try:
            gradients = {
                "slope": Gradient("logits", "x"),
                "second": Gradient("slope", "h"),
                "random": Gradient("logits", "h", projections=2, seed=1),
            }
            model = kp.models.HiddenOutputs(noisy(), gradients)
            # The norm of a gradient near zero bends too sharply for finite differences.
            losses = {"slope": R.GradientPenalty(0.7, norm=0.3), "second": R.L2(0.5), "random": R.L2(0.5)}
            model.compile(keras.optimizers.SGD(0.1), "mse", hidden_losses=losses)
            check_step(model, X.astype("float64"), Y.astype("float64"))
        finally:
            keras.config.set_floatx(before[0])
            keras.config.set_dtype_policy(before[1])


def check_step(model, x, y, rate=1e-3):
    start = [v.numpy() for v in model.variables]

    def loss_and_weights(learning_rate, changed=None):
        for v, value in zip(model.variables, start, strict=True):
            v.assign(value)
        if changed is not None:
            variable, value = changed
            variable.assign(value)
        model.optimizer.learning_rate = learning_rate
        model.optimizer.iterations.assign(0)
        loss = model.train_on_batch(x, y, return_dict=True)["loss"]
        return float(loss), [v.numpy() for v in model.trainable_variables]

    _, moved = loss_and_weights(rate)
    random = np.random.RandomState(0)
    for i, variable in enumerate(model.trainable_variables):
        value = start[next(j for j, v in enumerate(model.variables) if v is variable)]
        slope = (value - moved[i]) / rate
        along = random.randn(*value.shape)
        along /= np.linalg.norm(along)
        step = 8e-3
        at = {s: loss_and_weights(0.0, (variable, value + s * step * along))[0] for s in (-2, -1, 1, 2)}
        expected = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * step)
        assert np.sum(slope * along) == pytest.approx(expected, rel=1e-4, abs=5e-5), variable.path


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy):
    """The number is that of float32 but for rounding, and the scale of the loss does not change it."""
    full = values(wrapped(network(), R.GradientPenalty(1.0), slope=Gradient("logits", "x")))["slope"]
    model = network(dtype=policy)
    model = wrapped(model, R.GradientPenalty(1.0), slope=Gradient("logits", "x"))
    model.compile(
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=2.0**10),
        "mse",
        hidden_losses={"slope": R.GradientPenalty(1.0)},
    )
    tolerance = 2e-3 if policy == "mixed_float16" else 2e-2
    assert values(model)["slope"] == pytest.approx(full, rel=tolerance)
    logs = model.train_on_batch(X, Y, return_dict=True)
    assert float(logs["slope_loss"]) == pytest.approx(full, rel=tolerance)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_attention_has_a_second_derivative():
    x = keras.Input((4, 8), name="x")
    h = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    model = wrapped(keras.Model(x, layers.Dense(2)(h)), slope=Gradient("attention", "x"))
    data = np.random.RandomState(0).randn(2, 4, 8).astype("float32")
    before = model.get_weights()
    logs = model.train_on_batch(data, np.zeros((2, 4, 2), "float32"), return_dict=True)
    assert np.isfinite(float(logs["slope_loss"])) and float(logs["slope_loss"]) > 0
    assert any(np.abs(a - b).max() > 0 for a, b in zip(before, model.get_weights(), strict=True))


def test_predicting_and_exporting_need_no_gradient(tmp_path):
    plain = network()
    model = wrapped(plain, slope=Gradient("logits", "x"))
    np.testing.assert_allclose(model.predict(X, verbose=0), plain.predict(X, verbose=0), rtol=1e-6)
    model.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(model.predict(X, verbose=0), plain.predict(X, verbose=0), rtol=1e-6)


def test_a_step_of_ones_own():
    """The value of the terms for a batch of one's own choice: `compute_loss` after a call."""
    model = network()
    expected = squares(jacobian(model)[0].sum(-1))
    model = wrapped(model, loss=None, slope=Gradient("logits", "x"))
    x = ops.convert_to_tensor(X)
    assert float(model.compute_loss(x=x, y_pred=model(x, training=True))) == pytest.approx(expected, rel=1e-5)
    assert BACKEND != "torch" or not x.requires_grad
