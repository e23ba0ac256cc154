"""Weights of the unpenalized model, loaded into one with a changing strength."""

import os
import tempfile

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = "loads"

x = np.ones((8, 2), "float32")


class Penalizes(layers.Layer):
    def build(self, shape):
        self.steps = self.add_weight(
            name="steps",
            initializer="zeros",
            trainable=False,
        )

    def call(self, h):
        return h


def network(*after):
    return keras.Sequential(
        [keras.Input((2,)), layers.Dense(3), *after, layers.Dense(1)],
    )


def loads(layer):
    plain, penalized = network(), network(layer)
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "plain.weights.h5")
        plain.save_weights(file)
        penalized.load_weights(file)
    return (
        "loads"
        if np.allclose(plain.predict(x, verbose=0), penalized.predict(x, verbose=0))
        else "other weights"
    )


def plain_keras():
    return loads(Penalizes())


def ours():
    strength = keras.optimizers.schedules.PolynomialDecay(
        0.0,
        decay_steps=8,
        end_learning_rate=0.1,
    )
    return loads(kp.layers.ActivityPenalty(kp.regularizers.L2(strength)))
