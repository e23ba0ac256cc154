"""How many losses a penalty on the output of an LSTM with states adds."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 1

x = np.ones((8, 4, 2), "float32")


def model_of(regularizer=None):
    steps = keras.Input((4, 2))
    lstm = layers.LSTM(
        3,
        return_sequences=True,
        return_state=True,
        activity_regularizer=regularizer,
        name="lstm",
    )
    return keras.Model(steps, lstm(steps)[0])


def losses(model):
    model(x)
    return len(model.losses)


def plain_keras():
    return losses(model_of(keras.regularizers.L2(1.0)))


def ours():
    return losses(kp.penalize(model_of(), {"lstm": kp.regularizers.L2(1.0)}))
