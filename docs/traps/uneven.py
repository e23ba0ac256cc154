"""A last batch of one row, on two TensorFlow replicas: how far weights are off."""

import contextlib

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

BACKENDS = ("tensorflow",)
DEVICES = 2
ENDED = False
EXPECTED = 0.0

x = np.arange(17, dtype="float32")[:, None] / 10


def weights(make, scope):
    with scope:
        start = keras.Input((1,))
        h = layers.Dense(1, kernel_initializer="ones")(start)
        model = keras.Model(start, make()(h))
        model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, -x, batch_size=8, shuffle=False, verbose=0)
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


def difference(make, devices):
    one, two = weights(make, contextlib.nullcontext()), weights(make, devices.scope())
    return round(float(np.max(np.abs(one - two))), 3)


def plain_keras(devices):
    return difference(layers.Identity, devices)


def ours(devices):
    return difference(
        lambda: kp.layers.ActivityPenalty(kp.regularizers.L2(0.1)),
        devices,
    )
