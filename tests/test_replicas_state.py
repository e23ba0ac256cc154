"""State on several devices: strengths, centres and projections move as on one."""

import pytest

from tests.helpers import fresh_process

TRAIN = """
import numpy as np, keras, keras_penalties as kp
from keras import layers
from tests.test_replicas import compare
R, S = kp.regularizers, kp.schedules

def train():
    keras.utils.set_random_seed(0)
    start = keras.Input((3,))
    moving = [
        R.L2(keras.optimizers.schedules.PolynomialDecay(0.0, 10, 0.1)),
        R.L1(S.Target(0.5, rate=0.1, initial=0.1)),
        R.DeCov(S.Target(0.1, rate=0.2, initial=0.1)),
    ]
    h = kp.layers.ActivityPenalty(moving, name="moving")(layers.Dense(4, name="hidden")(start))
    code = layers.Dense(4, name="code")(h)
    model = keras.Model(start, layers.Dense(3, activation="softmax")(code))
    model = kp.models.HiddenOutputs(model, hidden=["hidden", "code"])
    both = [R.VICReg(S.Cyclical(0.1, 4)), R.Hint(S.Target(0.3, rate=0.2, initial=0.1), projection=True)]
    terms = {"code": kp.losses.Center(3), ("hidden", "code"): both}
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy", hidden_losses=terms)
    x, y = np.random.RandomState(0).randn(32, 3).astype("float32"), np.arange(32) % 3
    history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history
    logs = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
    assert {"moving_decov_strength", "hidden_code_loss_hint_strength"} <= set(logs), logs
    return [{key: value[-1] for key, value in history.items()}, logs], model.get_weights()
"""


@pytest.mark.default_backend_only
def test_tensorflow_replicas():
    code = (
        "import tensorflow as tf\n"
        "tf.config.set_logical_device_configuration(\n"
        "    tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        + TRAIN
        + "one = train()\n"
        "with tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1']).scope():\n"
        "    two = train()\n"
        "compare(one, two, rtol=1e-5)\nprint('equal')\n"
    )
    assert fresh_process(code).endswith("equal")


@pytest.mark.backends("jax")
def test_jax_data_parallel(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    code = TRAIN + (
        "one = train()\n"
        "devices = keras.distribution.list_devices()\n"
        "assert len(devices) == 2\n"
        "keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))\n"
        "compare(one, train(), rtol=1e-5)\nprint('equal')\n"
    )
    assert fresh_process(code).endswith("equal")
