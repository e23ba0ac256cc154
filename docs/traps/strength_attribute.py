"""A strength that is an attribute of a layer and doubles at the second epoch."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = [12.0, 24.0]  # 1 and 2, times 3 units * 2**2

x = np.ones((8, 2), "float32")


class Penalizes(layers.Layer):
    strength = 1.0

    def call(self, h):
        self.add_loss(self.strength * ops.mean(ops.sum(ops.square(h), axis=-1)))
        return h


class Doubles(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.get_layer("penalized").strength = 1.0 + epoch


def losses(layer, *callbacks):
    start = keras.Input((2,))
    model = keras.Model(
        start,
        layer(layers.Dense(3, kernel_initializer="ones")(start)),
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model.fit(
        x,
        np.full((8, 3), 2.0),
        epochs=2,
        verbose=0,
        callbacks=callbacks,
    ).history["loss"]


def plain_keras():
    return losses(Penalizes(name="penalized"), Doubles())


def ours():
    strength = keras.optimizers.schedules.PiecewiseConstantDecay(
        boundaries=[0],
        values=[1.0, 2.0],
    )
    return losses(kp.layers.ActivityPenalty(kp.regularizers.L2(strength)))
