"""A penalized layer inside `TimeDistributed`, with a strength of a million."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 48e6  # 1e6 * 4 steps * 3 units * 2**2

x = np.ones((8, 4, 2), "float32")


def loss(regularizer=None, after=None):
    steps = keras.Input((4, 2))
    dense = layers.Dense(
        3,
        kernel_initializer="ones",
        activity_regularizer=regularizer,
    )
    h = layers.TimeDistributed(dense)(steps)
    model = keras.Model(steps, after(h) if after else h)
    model(x)
    return float(sum(model.losses))


def plain_keras():
    return loss(regularizer=keras.regularizers.L2(1e6))


def ours():
    return loss(after=kp.layers.ActivityPenalty(kp.regularizers.L2(1e6)))
