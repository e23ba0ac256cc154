"""A penalty on activations, given to the weights by mistake."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = TypeError


class Covariances(keras.regularizers.Regularizer):
    def __call__(self, x):
        z = x - ops.mean(x, axis=0)
        return ops.sum(ops.square(ops.matmul(ops.transpose(z), z) / x.shape[0]))


def loss(regularizer):
    dense = layers.Dense(
        3,
        kernel_initializer="identity",
        kernel_regularizer=regularizer,
    )
    model = keras.Sequential([keras.Input((2,)), dense])
    model.compile("sgd", "mse")
    x = np.ones((8, 2), "float32")
    return model.evaluate(x, model.predict(x, verbose=0), verbose=0)


def plain_keras():
    return loss(Covariances())


def ours():
    return loss(kp.regularizers.DeCov(1.0))
