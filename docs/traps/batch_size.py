"""The same layer and batch on two releases of Keras."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

RELEASES = ("3.13",)
EXPECTED = 5.0  # 0.01 * 5 * 10**2 for each example


def loss(regularizer):
    dense = layers.Dense(
        5,
        kernel_initializer="ones",
        activity_regularizer=regularizer,
    )
    dense(2 * np.ones((50, 5), "float32"))
    return float(dense.losses[0])


def plain_keras():
    return loss(keras.regularizers.L2(0.01))


def ours():
    return loss(kp.regularizers.L2(0.01))
