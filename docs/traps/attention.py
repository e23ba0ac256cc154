"""How many losses a penalty on the output of an attention layer adds."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 1

x = np.ones((8, 4, 2), "float32")


def losses(regularizer=None, after=None):
    steps = keras.Input((4, 2))
    h = layers.MultiHeadAttention(2, 3, activity_regularizer=regularizer)(
        steps,
        steps,
    )
    model = keras.Model(steps, after(h) if after else h)
    model(x)
    return len(model.losses)


def plain_keras():
    return losses(regularizer=keras.regularizers.L2(1.0))


def ours():
    return losses(after=kp.layers.ActivityPenalty(kp.regularizers.L2(1.0)))
