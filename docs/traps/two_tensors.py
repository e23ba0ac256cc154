"""One loss that compares two hidden layers."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = 9.0  # 9 units * (3 - 2)**2

x, y = np.ones((8, 2), "float32"), np.full((8, 9), 2.0)
start = keras.Input((2,))
a = layers.Dense(9, kernel_initializer="ones", name="a")(start)
b = layers.Dense(9, kernel_initializer="ones", bias_initializer="ones", name="b")(
    start,
)


def distance(y_true, hidden):
    return ops.sum(ops.square(hidden[0] - hidden[1]), axis=-1)


def plain_keras():
    model = keras.Model(start, [a, b])
    model.compile(keras.optimizers.SGD(0.0), distance)
    return model.fit(x, [y, y], verbose=0).history["loss"][0]


def ours():
    model = kp.models.HiddenOutputs(keras.Model(start, [a, b]), hidden=["a", "b"])
    model.compile(keras.optimizers.SGD(0.0), hidden_losses={("a", "b"): distance})
    return model.fit(x, [y, y], verbose=0).history["a_b_loss"][0]
