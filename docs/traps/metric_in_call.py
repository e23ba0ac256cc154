"""The value of a penalty by name in the logs."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = 12.0  # 3 units * 2**2

x = np.ones((8, 2), "float32")


class Penalizes(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.mean = keras.metrics.Mean(name="size")

    def call(self, h):
        value = ops.mean(ops.sum(ops.square(h), axis=-1))
        self.add_loss(value)
        self.mean.update_state(value)
        return h


def logged(layer):
    start = keras.Input((2,))
    model = keras.Model(
        start,
        layer(layers.Dense(3, kernel_initializer="ones")(start)),
    )
    model.compile("sgd", "mse")
    return model.fit(x, np.full((8, 3), 2.0), verbose=0).history["size"][0]


def plain_keras():
    return logged(Penalizes())


def ours():
    return logged(kp.layers.ActivityPenalty(kp.regularizers.L2(1.0), name="size"))
