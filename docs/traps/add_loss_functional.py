"""A loss on a symbolic tensor of a functional model."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = 12.0  # 3 units * 2**2

x = np.ones((8, 2), "float32")
start = keras.Input((2,))
hidden = layers.Dense(3, kernel_initializer="ones", name="hidden")(start)


def loss(model):
    model.compile("sgd", "mse")
    return model.evaluate(x, np.full((8, 3), 2.0), verbose=0)


def plain_keras():
    model = keras.Model(start, hidden)
    model.add_loss(ops.mean(ops.sum(ops.square(hidden), axis=-1)))
    return loss(model)


def ours():
    model = kp.penalize(
        keras.Model(start, hidden),
        {"hidden": kp.regularizers.L2(1.0)},
    )
    model.compile("sgd", "mse")
    y = np.full((8, 3), 2.0)
    return model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
