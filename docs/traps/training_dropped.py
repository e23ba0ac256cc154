"""A subclassed model whose `call` takes no `training`: is there a warning?"""

import warnings

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = True

x = np.ones((8, 2), "float32")


class Net(keras.Model):
    def __init__(self, inside):
        super().__init__()
        self.dense, self.inside, self.out = layers.Dense(3), inside, layers.Dense(1)

    def call(self, x):
        return self.out(self.inside(self.dense(x)))


def told(inside):
    model = Net(inside)
    model.compile("sgd", "mse")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.fit(x, x[:, :1], verbose=0)
    messages = [str(warning.message) for warning in said]
    return any("`training` does not reach" in message for message in messages)


def plain_keras():
    return told(layers.Dropout(0.5))


def ours():
    warm_up = keras.optimizers.schedules.PolynomialDecay(
        0.0,
        decay_steps=4,
        end_learning_rate=0.1,
    )
    return told(kp.layers.ActivityPenalty(kp.regularizers.L2(warm_up)))
