"""A model trained and saved on PyTorch: does it train on TensorFlow?"""

import os
import subprocess
import sys
import tempfile

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

BACKENDS = ("torch",)
EXPECTED = "trains"

LOAD = """
import sys, keras, keras_penalties, numpy as np
model = keras.saving.load_model(sys.argv[1])
try:
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    print("trains")
except Exception as error:
    print(type(error).__name__)
"""


def trained_elsewhere(model):
    model.compile("adam", "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "model.keras")
        model.save(file)
        command, environment = (
            [sys.executable, "-c", LOAD, file],
            {**os.environ, "KERAS_BACKEND": "tensorflow"},
        )
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
        ).stdout.strip()


def network():
    return keras.Sequential(
        [keras.Input((2,)), layers.Dense(3, name="hidden"), layers.Dense(1)],
    )


def plain_keras():
    return trained_elsewhere(network())


def ours():
    return trained_elsewhere(kp.models.HiddenOutputs(network(), hidden=["hidden"]))
