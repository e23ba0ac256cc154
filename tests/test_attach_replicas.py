"""A penalty by name inside a block, on two devices: logs and weights are those of one device."""

import json

import pytest

from tests.support.helpers import fresh_process

pytestmark = pytest.mark.slow
TRAININGS = """
import json
import keras
import numpy as np
import keras_penalties as kp
from keras import layers
from tests.support.part_steps import Mixer
from tests.support.replicated import differences, on, tensorflow_devices

R = kp.regularizers
PENALTIES = {
    "mixer_0/inner": R.DeCov(0.5),
    "mixer_1/inner:preactivation": R.Variance(0.5),
    "mixer_1": R.L2(0.5),
}


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.blocks = [Mixer(4, name=f"mixer_{i}") for i in range(2)]
        self.head = layers.Dense(2, name="head")

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def graph():
    blocks = [Mixer(4, name=f"mixer_{i}") for i in range(2)]
    return keras.Sequential([keras.Input((6,)), *blocks, layers.Dense(2, name="head")])


def train(kind):
    keras.utils.set_random_seed(0)
    model = {"subclassed": Net, "graph": graph}[kind]()
    x = np.random.RandomState(0).normal(size=(16, 6)).astype("float32")
    model.build((None, 6))
    penalized = kp.penalize(model, PENALTIES)
    penalized.compile(keras.optimizers.SGD(0.1), "mse")
    logs = penalized.fit(x, x[:, :2], batch_size=8, epochs=2, shuffle=False, verbose=0).history
    return logs, penalized.get_weights()


def apart():
    found = {}
    for kind in ("subclassed", "graph"):
        one = train(kind)
        assert sum(name.endswith("_penalty") for name in one[0]) == 3, one[0]
        with on(2):
            two = train(kind)
        assert min(values[0] for values in two[0].values()) > 1e-3, two[0]
        found |= {f"{kind} {name}": float(value) for name, value in differences(one, two).items()}
    print(json.dumps(found))
"""


@pytest.mark.default_backend_only
def test_two_tensorflow_replicas():
    found = json.loads(fresh_process(TRAININGS + "\ntensorflow_devices(2)\napart()").splitlines()[-1])
    assert max(found.values()) < 1e-5, found


@pytest.mark.backends("jax")
def test_two_jax_devices(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    found = json.loads(fresh_process(TRAININGS + "\napart()").splitlines()[-1])
    assert max(found.values()) < 1e-5, found
