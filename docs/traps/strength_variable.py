"""A strength that is a variable of a regularizer and doubles in epoch 2."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = [12.0, 24.0]  # 1 and 2, times 3 units * 2**2

x = np.ones((8, 2), "float32")


class Penalizes(keras.regularizers.Regularizer):
    def __init__(self):
        self.strength = keras.Variable(1.0)

    def __call__(self, h):
        return self.strength * ops.sum(ops.square(h))


class Doubles(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.get_layer("dense").activity_regularizer.strength.assign(
            1.0 + epoch,
        )


def losses(regularizer, *after, callbacks=()):
    start = keras.Input((2,))
    h = layers.Dense(
        3,
        kernel_initializer="ones",
        activity_regularizer=regularizer,
        name="dense",
    )(start)
    for layer in after:
        h = layer(h)
    model = keras.Model(start, h)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model.fit(
        x,
        np.full((8, 3), 2.0),
        epochs=2,
        verbose=0,
        callbacks=callbacks,
    ).history["loss"]


def plain_keras():
    return losses(Penalizes(), callbacks=[Doubles()])


def ours():
    strength = keras.optimizers.schedules.PiecewiseConstantDecay(
        boundaries=[0],
        values=[1.0, 2.0],
    )
    return losses(None, kp.layers.ActivityPenalty(kp.regularizers.L2(strength)))
