"""A penalty before synchronized batch normalization: how far replicas are off."""

import contextlib

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

BACKENDS = ("tensorflow",)
DEVICES = 2
EXPECTED = 0.0

x = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")


def weights(make, scope):
    keras.utils.set_random_seed(0)
    with scope:
        start = keras.Input((3,))
        h = layers.BatchNormalization(synchronized=True)(make(start))
        model = keras.Model(start, layers.Dense(1)(h))
        model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, x[:, :1], batch_size=8, epochs=2, shuffle=False, verbose=0)
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


def difference(make, devices):
    one, two = weights(make, contextlib.nullcontext()), weights(make, devices.scope())
    return round(float(np.max(np.abs(one - two))), 3)


def plain_keras(devices):
    return difference(
        lambda x: layers.Dense(4, activity_regularizer=keras.regularizers.L2(1.0))(x),
        devices,
    )


def ours(devices):
    return difference(
        lambda x: kp.layers.ActivityPenalty(kp.regularizers.L2(1.0))(
            layers.Dense(4)(x),
        ),
        devices,
    )
