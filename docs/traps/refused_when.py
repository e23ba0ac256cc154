"""A penalty that needs a time axis, on a layer without one: when is the error?"""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = "when the model is built"


class Jumps(keras.regularizers.Regularizer):
    def __call__(self, x):
        if len(x.shape) != 3:
            raise ValueError("needs (batch, time, features)")
        return ops.sum(ops.square(x[:, 1:] - x[:, :-1]))


def when(build):
    start = keras.Input((2,))
    try:
        model = keras.Model(start, build(start))
    except ValueError:
        return "when the model is built"
    try:
        model(np.ones((8, 2), "float32"))
    except ValueError:
        return "when it is called"
    return "never"


def plain_keras():
    return when(layers.Dense(3, activity_regularizer=Jumps()))


def ours():
    return when(
        lambda x: kp.layers.ActivityPenalty(kp.regularizers.TemporalSmoothness(1.0))(
            layers.Dense(3)(x),
        ),
    )
