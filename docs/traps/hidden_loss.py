"""A compiled loss on a hidden layer, in a model that gets its usual labels."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = 12.0  # 3 units * 2**2

x, y = np.ones((8, 2), "float32"), np.full((8, 1), 6.0)
start = keras.Input((2,))
hidden = layers.Dense(3, kernel_initializer="ones", name="hidden")(start)
answer = layers.Dense(1, kernel_initializer="ones", name="answer")(hidden)


def size(y_true, hidden):
    return ops.sum(ops.square(hidden), axis=-1)


def plain_keras():
    model = keras.Model(start, [answer, hidden])
    model.compile(keras.optimizers.SGD(0.0), ["mse", size])
    return model.fit(x, y, verbose=0).history["hidden_loss"][0]


def ours():
    model = kp.models.HiddenOutputs(keras.Model(start, answer), hidden=["hidden"])
    model.compile(keras.optimizers.SGD(0.0), "mse", hidden_losses={"hidden": size})
    return model.fit(x, y, verbose=0).history["hidden_loss"][0]
