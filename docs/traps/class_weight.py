"""Class weights with a loss on a hidden layer: class 1 has the weight 3."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = 1.386294  # ln 2 for each row, times (1 + 3) / 2

x, y = np.ones((8, 2), "float32"), np.arange(8) % 2
start = keras.Input((2,))
hidden = layers.Dense(3, kernel_initializer="ones", name="hidden")(start)
answer = layers.Dense(
    2,
    kernel_initializer="zeros",
    activation="softmax",
    name="answer",
)(hidden)
crossentropy = "sparse_categorical_crossentropy"


def size(y_true, hidden):
    return ops.sum(ops.square(hidden), axis=-1)


def plain_keras():
    model = keras.Model(start, [answer, hidden])
    model.compile(keras.optimizers.SGD(0.0), [crossentropy, size])
    history = model.fit(x, [y, y], class_weight={0: 1.0, 1: 3.0}, verbose=0).history
    return history["answer_loss"][0]


def ours():
    model = kp.models.HiddenOutputs(keras.Model(start, answer), hidden=["hidden"])
    model.compile(
        keras.optimizers.SGD(0.0),
        crossentropy,
        hidden_losses={"hidden": kp.regularizers.L2(1.0)},
    )
    history = model.fit(x, y, class_weight={0: 1.0, 1: 3.0}, verbose=0).history
    return history["main_loss"][0]
