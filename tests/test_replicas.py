"""Training on two devices gives what training on one gives."""

import pytest

from tests.helpers import BACKEND, fresh_process

TRAIN = """
import numpy as np, keras, keras_penalties as kp
from keras import layers
from tests.models.networks import data, set_weights

def train():
    start = keras.Input((3,))
    h = layers.Dense(4, activation="relu", name="hidden", activity_regularizer=kp.regularizers.L2(0.1))(start)
    h = kp.layers.ActivityPenalty({penalty}, name="penalty")(h)
    model = set_weights(keras.Model(start, layers.Dense(2)(h)))
    wrapper = kp.models.HiddenOutputs(model, hidden=["hidden"])
    wrapper.compile(keras.optimizers.SGD(0.5), "mse", hidden_losses={{"hidden": kp.regularizers.L1(0.2)}})
    x, y = data(16)
    history = wrapper.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    logs = wrapper.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
    history = {{key: value[-1] for key, value in history.items()}}
    return [history, logs], model.get_weights()

def compare(one, two):
    for a, b in zip(one[0], two[0], strict=True):
        assert set(a) == set(b) and "penalty" in a, (a, b)
        for key in a:
            np.testing.assert_allclose(b[key], a[key], rtol=1e-5, atol=1e-7, err_msg=key)
    for a, b in zip(one[1], two[1], strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)
    print("equal")
"""


@pytest.mark.backends("jax")
def test_jax_data_parallel_with_a_batch_statistic(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    code = TRAIN.format(penalty="kp.regularizers.DeCov(3.0)") + (
        "one = train()\n"
        "devices = keras.distribution.list_devices()\n"
        "assert len(devices) == 2\n"
        "keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))\n"
        "compare(one, train())\n"
    )
    assert fresh_process(code).endswith("equal")


BATCH_STATISTICS = """
import sys, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * {devices})
import numpy as np, keras, keras_penalties as kp
from keras import layers
from tests.models.networks import data, set_weights
from tests.test_replicas import compare

R = kp.regularizers

def train(rows):
    start = keras.Input((5, 3))
    h = layers.Masking()(start)
    h = layers.Dense(4, activation="relu", name="hidden", activity_regularizer=keras.regularizers.L2(0.1))(h)
    one = [R.DeCov(1.0), R.MMD(1.0), R.Covariance(1.0), R.Entropy(0.1, from_logits=True), R.ZLoss(0.1)]
    h = kp.layers.ActivityPenalty(one, name="one")(h)
    h = layers.Dense(4, activation="tanh", activity_regularizer=R.Variance(0.5))(h)
    other = [R.KLSparsity(0.1), R.LoadBalance(0.1), R.L1(0.1), R.TemporalSmoothness(0.1)]
    h = kp.layers.ActivityPenalty(other, name="other")(h)
    g = layers.Dense(4, name="g", activity_regularizer=R.L1(0.1))(h)
    both = [R.VICReg(0.01), R.BarlowTwins(0.01), R.CORAL(1.0), R.MMD(1.0), R.Hint(0.1)]
    both.append(R.GaussianKL(0.1, free_bits=0.1, capacity=0.3))
    g = kp.layers.ActivityPenalty(both, name="both")([h, g])[1]
    end = layers.Dense(2, activity_regularizer=keras.regularizers.L1(0.1))(layers.GlobalAveragePooling1D()(g))
    model = set_weights(keras.Model(start, end))
    wrapper = kp.models.HiddenOutputs(model, hidden=["hidden", "g"])
    terms = {{"hidden": [R.L1(0.2), R.DeCov(1.0)], "g": R.Covariance(0.1), ("hidden", "g"): R.VICReg(0.01)}}
    wrapper.compile(keras.optimizers.SGD(0.001), "mse", hidden_losses=terms)
    x, y = np.random.RandomState(0).randn(rows, 5, 3).astype("float32"), data(rows)[1]
    for i in range(rows):
        x[i, 1 + i % 5:] = 0
    history = wrapper.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    logs = wrapper.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
    return [{{key: value[-1] for key, value in history.items()}}, logs], model.get_weights()

def replicated(rows):
    with tf.distribute.MirroredStrategy([f"CPU:{{i}}" for i in range({devices})]).scope():
        return train(rows)
"""


def compare(one, two):
    import numpy as np

    for a, b in zip(one[0], two[0], strict=True):
        assert set(a) == set(b)
        for key in a:
            np.testing.assert_allclose(b[key], a[key], rtol=1e-5, atol=1e-7, err_msg=key)
    for a, b in zip(one[1], two[1], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)


@pytest.mark.default_backend_only
@pytest.mark.parametrize("devices", [2, 4])
def test_tensorflow_replicas_with_every_batch_statistic(devices):
    code = BATCH_STATISTICS.format(devices=devices) + "compare(train(16), replicated(16)); print('equal')"
    assert fresh_process(code).endswith("equal")


@pytest.mark.default_backend_only
def test_uneven_tensorflow_replicas_stay_finite():
    code = BATCH_STATISTICS.format(devices=2) + (
        "logs, weights = replicated(17)\n"
        "assert all(np.isfinite(v) for log in logs for v in log.values()), logs\n"
        "assert all(np.isfinite(w).all() for w in weights)\n"
        "print('finite')\n"
    )
    assert fresh_process(code).endswith("finite")


@pytest.mark.default_backend_only
def test_tensorflow_replicas_with_per_example_penalties():
    code = (
        "import tensorflow as tf\n"
        "tf.config.set_logical_device_configuration(\n"
        "    tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        + TRAIN.format(penalty="kp.regularizers.L2(0.3)")
        + "one = train()\n"
        "with tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1']).scope():\n"
        "    two = train()\n"
        "compare(one, two)\n"
    )
    assert fresh_process(code, backend=BACKEND).endswith("equal")
