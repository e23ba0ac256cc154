"""A saved model with a penalty of your own, loaded by plain Keras."""

import os
import subprocess
import sys
import tempfile

import keras
from keras import layers, ops

import keras_penalties as kp

BACKENDS = ("tensorflow",)
EXPECTED = "loads"


@keras.saving.register_keras_serializable("traps")
class Theirs(keras.regularizers.Regularizer):
    def __call__(self, x):
        return ops.sum(ops.square(x))

    def get_config(self):
        return {}


LOAD = """
import sys, keras
try:
    keras.saving.load_model(sys.argv[1])
    print("loads")
except Exception as error:
    print(type(error).__name__)
"""


def loaded(model):
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "model.keras")
        model.save(file)
        done = subprocess.run(
            [sys.executable, "-c", LOAD, file],
            capture_output=True,
            text=True,
        )
    return done.stdout.strip()


def network(regularizer):
    return keras.Sequential(
        [keras.Input((2,)), layers.Dense(3, activity_regularizer=regularizer)],
    )


def plain_keras():
    return loaded(network(Theirs()))


def ours():
    return loaded(kp.strip(network(kp.regularizers.L2(1.0))))
