"""How much two features vary together, in a batch split between two devices."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

BACKENDS = ("tensorflow", "jax")
DEVICES = 2

x = np.array(
    [[0, 0], [1, 0], [0, 1], [1, 1], [4, 4], [5, 4], [4, 5], [5, 5]],
    "float32",
)
EXPECTED = 16.0  # the covariance of the two columns is 4


class Decorrelates(layers.Layer):
    def call(self, h):
        a, b = ops.unstack(h - ops.mean(h, axis=0), axis=1)
        self.add_loss(ops.square(ops.mean(a * b)))
        return h


def loss(make, devices):
    with devices.scope():
        start = keras.Input((2,))
        model = keras.Model(
            start,
            make()(layers.Dense(2, kernel_initializer="identity")(start)),
        )
        model.compile("sgd", "mse")
        return model.fit(x, x, batch_size=8, verbose=0).history["loss"][0]


def plain_keras(devices):
    return loss(Decorrelates, devices)


def ours(devices):
    return loss(
        lambda: kp.layers.ActivityPenalty(kp.regularizers.DeCov(1.0)),
        devices,
    )
