"""An `add_loss` layer where activations are recomputed in the backward pass."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = 12.0  # 3 units * 2**2

x = np.ones((8, 2), "float32")


class Penalizes(layers.Layer):
    def call(self, h):
        self.add_loss(ops.mean(ops.sum(ops.square(h), axis=-1)))
        return h


def loss(inside):
    start = keras.Input((2,))
    h = layers.Dense(3, kernel_initializer="ones")(start)
    with keras.RematScope(mode="full"):
        h = layers.Activation("relu")(h)
        h = inside()(h)
    model = keras.Model(start, h)
    model.compile("sgd", "mse")
    return model.fit(x, np.full((8, 3), 2.0), verbose=0).history["loss"][0]


def plain_keras():
    return loss(Penalizes)


def ours():
    return loss(lambda: kp.layers.ActivityPenalty(kp.regularizers.L2(1.0)))
