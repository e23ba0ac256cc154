"""Ten steps, of which the last three are padding."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 112.0  # 7 steps * 4 units * 2**2

x = np.full((1, 10, 3), 0.5, "float32")
x[:, 7:] = 0.0


def loss(regularizer=None, after=None):
    steps = keras.Input((10, 3))
    h = layers.Masking()(steps)
    h = layers.Dense(
        4,
        kernel_initializer="ones",
        bias_initializer=keras.initializers.Constant(0.5),
        activity_regularizer=regularizer,
    )(h)
    model = keras.Model(steps, after(h) if after else h)
    model(x)
    return float(sum(model.losses))


def plain_keras():
    return loss(regularizer=keras.regularizers.L2(1.0))


def ours():
    return loss(after=kp.layers.ActivityPenalty(kp.regularizers.L2(1.0)))
