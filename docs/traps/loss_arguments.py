"""A Huber loss with a threshold of 0.1, in a model that is saved and loaded."""

import os
import tempfile

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 0.195  # 0.1 * (2 - 0.1 / 2); 1.5 with Keras' own threshold of 1

x, y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")


def network():
    return keras.Sequential(
        [keras.Input((2,)), layers.Dense(1, kernel_initializer="ones", name="out")],
    )


def loss_of_loaded(model):
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "model.keras")
        model.save(file)
        return keras.saving.load_model(file).evaluate(
            x,
            y,
            verbose=0,
            return_dict=True,
        )["loss"]


def plain_keras():
    model = network()
    model.compile("sgd", keras.losses.Huber(delta=0.1))
    return loss_of_loaded(model)


def ours():
    model = kp.models.HiddenOutputs(network(), hidden=["out"])
    model.compile("sgd", keras.losses.Huber(delta=0.1))
    return loss_of_loaded(model)
