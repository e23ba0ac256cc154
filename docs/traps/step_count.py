"""Four batches, counted by a layer used twice, with gradients accumulated."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 4

x = np.ones((32, 2), "float32")


class Counts(layers.Layer):
    def build(self, shape):
        self.steps = self.add_weight(
            name="steps",
            initializer="zeros",
            trainable=False,
            dtype="int32",
        )

    def call(self, h, training=None):
        if training:
            self.steps.assign_add(1)
        return h


def steps(layer):
    start = keras.Input((2,))
    model = keras.Model(start, layers.Dense(1)(layer(layers.Dense(2)(layer(start)))))
    model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), "mse")
    model.fit(x, x[:, :1], batch_size=8, verbose=0)
    (count,) = layer.non_trainable_weights
    return int(count)


def plain_keras():
    return steps(Counts())


def ours():
    strength = keras.optimizers.schedules.PolynomialDecay(
        0.0,
        decay_steps=8,
        end_learning_rate=0.1,
    )
    return steps(kp.layers.ActivityPenalty(kp.regularizers.L2(strength)))
