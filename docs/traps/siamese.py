"""One encoder on two inputs: activations of 1 and of 2."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 5.0  # 1**2 + 2**2

one = np.ones((8, 1), "float32")


def loss(*encoder):
    encoder = keras.Sequential([keras.Input((1,)), *encoder])
    a, b = keras.Input((1,)), keras.Input((1,))
    model = keras.Model([a, b], layers.Subtract()([encoder(a), encoder(b)]))
    model.compile("sgd", "mse")
    return model.fit([one, 2 * one], -one, verbose=0).history["loss"][0]


def plain_keras():
    L2 = keras.regularizers.L2(1.0)
    return loss(layers.Dense(1, kernel_initializer="ones", activity_regularizer=L2))


def ours():
    L2 = kp.regularizers.L2(1.0)
    return loss(
        layers.Dense(1, kernel_initializer="ones"),
        kp.layers.ActivityPenalty(L2),
    )
