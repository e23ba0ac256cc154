"""A layer that is used twice in one model."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 5.0  # 1**2 + 2**2

one = np.ones((8, 1), "float32")


def loss(model):
    model.compile("sgd", "mse")
    return model.fit(one, -one, verbose=0).history["loss"][0]


def model_of(regularizer=None):
    start = keras.Input((1,))
    dense = layers.Dense(
        1,
        kernel_initializer="ones",
        activity_regularizer=regularizer,
        name="dense",
    )
    return keras.Model(start, layers.Subtract()([dense(start), dense(2 * start)]))


def plain_keras():
    return loss(model_of(keras.regularizers.L2(1.0)))


def ours():
    return loss(kp.penalize(model_of(), {"dense": kp.regularizers.L2(1.0)}))
