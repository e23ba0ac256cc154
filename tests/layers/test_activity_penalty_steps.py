"""However a step is run, an ActivityPenalty gives NumPy's weights and shows NumPy's numbers.

`tests/test_training_step.py` asks the same of all ways to attach a penalty, in the default mode alone.
"""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.layers.networks import batches, compiled, data, hidden, hidden_then_head, main_loss
from tests.support import references
from tests.support.helpers import BACKEND, finite_differences

PENALTIES = {
    "l1l2": (lambda: kp.regularizers.L1L2(0.2, 0.3), lambda h: references.l1l2(h, l1=0.2, l2=0.3)),
    "decov": (lambda: kp.regularizers.DeCov(5.0), lambda h: 5.0 * references.decov(h)),
    "kl": (
        lambda: kp.regularizers.KLSparsity(0.5, 0.1),
        lambda h: 0.5 * references.kl_sparsity(h, target=0.1),
    ),
}
WAYS = pytest.mark.parametrize("way", ["argument", "layer"])


@pytest.fixture(params=PENALTIES)
def penalty(request):
    make, added = PENALTIES[request.param]
    return make(), added


def unflatten(vector, like):
    ends = np.cumsum([w.size for w in like])
    return [v.reshape(w.shape) for v, w in zip(np.split(vector, ends[:-1]), like, strict=True)]


def numpy_gradient(weights, x, y, added):
    """Of the mean squared error plus the penalty, for all weights, by finite differences in float64."""

    def total(vector):
        w = unflatten(vector, weights)
        return main_loss(w, x, y) + added(hidden(w, x))

    flat = np.concatenate([np.ravel(w) for w in weights]).astype("float64")
    return finite_differences(total, flat)


def assert_trains_like_numpy(model, added, rows, **options):
    """One step at rate 1."""
    x, y = data(rows)
    before = model.get_weights()
    compiled(model, learning_rate=1.0, **options)
    logs = model.fit(x, y, batch_size=rows, verbose=0).history
    steps = unflatten(numpy_gradient(before, x, y, added), before)
    for ours, step, old in zip(model.get_weights(), steps, before, strict=True):
        np.testing.assert_allclose(ours, old - step, rtol=2e-4, atol=2e-5)
        assert np.abs(ours - old).max() > 1e-3
    return logs


@pytest.mark.backends("tensorflow", "jax")
def test_several_steps_an_execution_log_each_of_them(penalty):
    (made, added), (x, y) = penalty, data(22)
    model = hidden_then_head(made)
    weights = model.get_weights()
    for steps in (1, 2, 4):
        logs = compiled(model, steps_per_execution=steps).fit(
            x, y, batch_size=4, epochs=2, shuffle=False, validation_data=(x, y), verbose=0
        )
        expected = sum(len(p) * added(hidden(weights, p)) for p in batches(x, 4)) / len(x)
        for key in ("pressed", "val_pressed"):
            np.testing.assert_allclose(logs.history[key], [expected] * 2, rtol=1e-5, err_msg=f"{key} {steps}")


@pytest.mark.parametrize("way_of_running", ["eager", "compiled by XLA", "as a graph"])
def test_runs_the_same_in_every_mode(penalty, way_of_running):
    options = {"eager": {"run_eagerly": True}, "as a graph": {"jit_compile": False}}.get(way_of_running)
    if options is None:
        if BACKEND == "torch":
            pytest.skip("torch compiles with a C++ compiler, which may not be there")
        options = {"jit_compile": True}
    (made, added), (x, y) = penalty, data(6)
    model = hidden_then_head(made)
    weights = model.get_weights()
    logs = assert_trains_like_numpy(model, added, rows=6, **options)
    np.testing.assert_allclose(logs["pressed"], [added(hidden(weights, x))], rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], np.add(main_loss(weights, x, y), logs["pressed"]), rtol=1e-5)


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"jit_compile": False}, {}], ids=str)
def test_a_short_last_batch_is_logged_by_its_size_in_every_mode(penalty, options):
    (made, added), (x, y) = penalty, data(6)
    model = hidden_then_head(made)
    expected = sum(len(p) * added(hidden(model.get_weights(), p)) for p in batches(x, 4)) / 6
    for logs in (
        compiled(model, **options)
        .fit(x, y, batch_size=4, shuffle=False, epochs=2, verbose=0)
        .history["pressed"],
        [model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)["pressed"]],
    ):
        np.testing.assert_allclose(logs, [expected] * len(logs), rtol=1e-5)


@WAYS
def test_mixed_float16(penalty, way):
    """The strength reaches a float16 layer as it reaches a float32 one."""
    keras.config.set_dtype_policy("mixed_float16")
    made, added = penalty
    model, (x, _) = hidden_then_head(made, way), data(6)
    model(x)
    assert len(model.losses) == 1
    np.testing.assert_allclose(float(model.losses[0]), added(hidden(model.get_weights(), x)), rtol=2e-2)


@pytest.mark.default_backend_only
def test_batches_of_tf_data():
    import tensorflow as tf

    make, added = PENALTIES["decov"]
    model = compiled(hidden_then_head(make()))
    (x, y), weights = data(10), model.get_weights()
    stream = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    logs = model.fit(stream, validation_data=stream, verbose=0).history
    expected = sum(len(p) * added(hidden(weights, p)) for p in batches(x, 4)) / len(x)
    np.testing.assert_allclose([logs["pressed"], logs["val_pressed"]], [[expected]] * 2, rtol=1e-5)


def test_inside_of_rematerialization():
    x, start = np.linspace(-1, 1, 32).reshape(8, 4).astype("float32"), keras.Input((4,))
    with keras.RematScope(mode="full"):
        h = keras.layers.Activation("tanh")(start)
        h = kp.layers.ActivityPenalty(kp.regularizers.L2(0.5), name="quiet")(h)
    model = keras.Model(start, h)
    model.compile("sgd", "mse")
    history, expected = model.fit(x, x, verbose=0).history, 0.5 * np.sum(np.tanh(x) ** 2) / 8
    np.testing.assert_allclose(history["quiet"], [expected], rtol=1e-5)
    np.testing.assert_allclose(history["loss"], [expected + np.mean((np.tanh(x) - x) ** 2)], rtol=1e-5)
