"""Ten `add_loss` layers, not compiled: how many of 30 losses are too small?"""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

BACKENDS = ("jax",)
EXPECTED = 0

x = np.ones((4, 1), "float32")


class Penalizes(layers.Layer):
    def call(self, h):
        self.add_loss(ops.mean(ops.square(h)))
        return h


def short(layer):
    start = h = keras.Input((1,))
    for _ in range(10):
        h = layer()(h)
    model = keras.Model(start, layers.Dense(1, kernel_initializer="ones")(h))
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    losses = [model.train_on_batch(x, x, return_dict=True)["loss"] for _ in range(30)]
    return sum(float(loss) < 9.5 for loss in losses)  # 10 penalties of 1


def plain_keras():
    return short(Penalizes)


def ours():
    return short(lambda: kp.layers.ActivityPenalty(kp.regularizers.L2(1.0)))
