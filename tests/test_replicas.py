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
