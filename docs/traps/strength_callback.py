"""A strength that callbacks set to 1, 2 and 3 for three batches."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = 24.0  # the mean of 1, 2 and 3, times 3 units * 2**2

x = np.ones((24, 2), "float32")


class Penalizes(layers.Layer):
    def build(self, shape):
        self.strength = self.add_weight(
            name="strength",
            initializer="ones",
            trainable=False,
        )

    def call(self, h):
        self.add_loss(self.strength * ops.mean(ops.sum(ops.square(h), axis=-1)))
        return h


class Counts(keras.callbacks.Callback):
    def __init__(self, layer):
        self.layer = layer

    def on_train_batch_begin(self, batch, logs=None):
        self.layer.strength.assign(1.0 + batch)


def loss(layer, *callbacks):
    start = keras.Input((2,))
    model = keras.Model(
        start,
        layer(layers.Dense(3, kernel_initializer="ones")(start)),
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = np.full((24, 3), 2.0)
    history = model.fit(x, y, batch_size=8, verbose=0, callbacks=callbacks).history
    return history["loss"][0]


def plain_keras():
    layer = Penalizes()
    return loss(layer, Counts(layer))


def ours():
    strength = keras.optimizers.schedules.PiecewiseConstantDecay(
        [0, 1],
        [1.0, 2.0, 3.0],
    )
    return loss(kp.layers.ActivityPenalty(kp.regularizers.L2(strength)))
