"""A SavedModel from the PyTorch backend."""

import tempfile

import keras
from keras import layers

import keras_penalties as kp

BACKENDS = ("torch",)
ENDED = False
EXPECTED = "exported"

model = keras.Sequential([keras.Input((2,)), layers.Dense(3, name="hidden")])


def exported(model):
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
    return "exported"


def plain_keras():
    return exported(model)


def ours():
    return exported(kp.penalize(model, {"hidden": kp.regularizers.L2(1.0)}))
