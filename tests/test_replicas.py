"""Training on two devices gives what training on one gives."""

import numpy as np
import pytest

import keras_penalties as kp
from tests.helpers import BACKEND, fresh_process


def compare(one, two, rtol=1e-7):
    """Logs within 1e-5 of each other, weights within 1e-5 and `rtol`."""
    for a, b in zip(one[0], two[0], strict=True):
        assert set(a) == set(b)
        for key in a:
            np.testing.assert_allclose(b[key], a[key], rtol=1e-5, atol=1e-7, err_msg=key)
    for a, b in zip(one[1], two[1], strict=True):
        np.testing.assert_allclose(b, a, rtol=rtol, atol=1e-5)


TRAIN = """
import numpy as np, keras, keras_penalties as kp
from keras import layers
from tests.models.networks import data, set_weights
from tests.test_replicas import compare

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
    assert "penalty" in history and "penalty" in logs, (history, logs)
    return [history, logs], model.get_weights()
"""


BATCH_STATISTICS = """
import numpy as np, keras, keras_penalties as kp
from keras import layers
from keras_penalties._backend import KERAS_DIVIDES_BY_BATCH
from tests.models.networks import data, set_weights
from tests.test_replicas import compare

R = kp.regularizers
# Before Keras 3.14 its own activity regularizers are not divided by the batch: on replicas they are then
# averaged, so that Keras by itself trains otherwise there. Ours stand in.
stock = keras.regularizers if KERAS_DIVIDES_BY_BATCH else R

def train(rows):
    start = keras.Input((5, 3))
    h = layers.Masking()(start)
    h = layers.Dense(4, activation="relu", name="hidden", activity_regularizer=stock.L2(0.1))(h)
    one = [R.DeCov(1.0), R.MMD(1.0), R.Covariance(1.0), R.Entropy(0.1, from_logits=True), R.ZLoss(0.1)]
    h = kp.layers.ActivityPenalty(one, name="one")(h)
    h = layers.Dense(4, activation="tanh", activity_regularizer=R.Variance(0.5))(h)
    other = [R.KLSparsity(0.1), R.LoadBalance(0.1), R.L1(0.1), R.TemporalSmoothness(0.1)]
    other.append(R.Confidence(0.1, from_logits=True))
    h = kp.layers.ActivityPenalty(other, name="other")(h)
    g = layers.Dense(4, name="g", activity_regularizer=R.L1(0.1))(h)
    both = [R.VICReg(0.01), R.BarlowTwins(0.01), R.CORAL(1.0), R.MMD(1.0), R.Hint(0.1)]
    both.append(R.GaussianKL(0.1, free_bits=0.1, capacity=0.3))
    g = kp.layers.ActivityPenalty(both, name="both")([h, g])[1]
    end = layers.Dense(2, activity_regularizer=stock.L1(0.1))(layers.GlobalAveragePooling1D()(g))
    model = set_weights(keras.Model(start, end))
    wrapper = kp.models.HiddenOutputs(model, hidden=["hidden", "g"])
    terms = {"hidden": [R.L1(0.2), R.DeCov(1.0)], "g": R.Covariance(0.1), ("hidden", "g"): R.VICReg(0.01)}
    wrapper.compile(keras.optimizers.SGD(0.001), "mse", hidden_losses=terms)
    x, y = np.random.RandomState(0).randn(rows, 5, 3).astype("float32"), data(rows)[1]
    for i in range(rows):
        x[i, 1 + i % 5:] = 0
    history = wrapper.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    logs = wrapper.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
    return [{key: value[-1] for key, value in history.items()}, logs], model.get_weights()
"""

TF_DEVICES = """
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * {devices})

def replicated(rows):
    with tf.distribute.MirroredStrategy([f"CPU:{{i}}" for i in range({devices})]).scope():
        return train(rows)
"""

JAX_DEVICES = """
import keras

def replicated(rows):
    devices = keras.distribution.list_devices()
    assert len(devices) == {devices}
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    return train(rows)
"""


EQUAL = "compare(train(16), replicated(16), rtol=1e-5)\nprint('equal')\n"


def test_every_batch_statistic_is_among_them():
    exported = {name: getattr(kp.regularizers, name) for name in kp.regularizers.__all__}
    base = kp.regularizers.BatchStatisticPenalty
    missing = {
        name
        for name, cls in exported.items()
        if issubclass(cls, base) and cls is not base and f"R.{name}(" not in BATCH_STATISTICS
    }
    assert missing == set()


@pytest.mark.default_backend_only
@pytest.mark.parametrize("devices", [2, 4])
def test_tensorflow_replicas_with_every_batch_statistic(devices):
    code = TF_DEVICES.format(devices=devices) + BATCH_STATISTICS + EQUAL
    assert fresh_process(code).endswith("equal")


@pytest.mark.backends("jax")
@pytest.mark.parametrize("devices", [2, 4])
def test_jax_devices_with_every_batch_statistic(devices, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"--xla_force_host_platform_device_count={devices}")
    code = JAX_DEVICES.format(devices=devices) + BATCH_STATISTICS + EQUAL
    assert fresh_process(code).endswith("equal")


@pytest.mark.default_backend_only
def test_uneven_tensorflow_replicas_stay_finite():
    code = TF_DEVICES.format(devices=2) + BATCH_STATISTICS
    code += (
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
        "compare(one, two)\nprint('equal')\n"
    )
    assert fresh_process(code, backend=BACKEND).endswith("equal")
