"""A metric of the predictions, in a model that also returns a hidden layer."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 6.0  # |6 - 0|

x, y = np.ones((8, 2), "float32"), np.zeros((8, 1))
start = keras.Input((2,))
hidden = layers.Dense(3, kernel_initializer="ones", name="hidden")(start)
answer = layers.Dense(1, kernel_initializer="ones", name="answer")(hidden)


def plain_keras():
    model = keras.Model(start, {"answer": answer, "hidden": hidden})
    model.compile("sgd", loss={"answer": "mse"}, metrics={"answer": "mae"})
    return model.evaluate(x, {"answer": y}, verbose=0, return_dict=True)["answer_mae"]


def ours():
    model = kp.models.HiddenOutputs(keras.Model(start, answer), hidden=["hidden"])
    model.compile(
        "sgd",
        "mse",
        metrics=["mae"],
        hidden_losses={"hidden": kp.regularizers.L2(1.0)},
    )
    return model.evaluate(x, y, verbose=0, return_dict=True)["mae"]
