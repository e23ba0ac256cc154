"""A layer of a model inside another model."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 12.0  # 3 units * 2**2

x = np.ones((8, 2), "float32")
encoder = keras.Sequential(
    [
        keras.Input((2,)),
        layers.Dense(3, kernel_initializer="ones", name="hidden"),
        layers.Dense(1, kernel_initializer="ones"),
    ],
    name="encoder",
)
start = keras.Input((2,))
model = keras.Model(start, layers.Dense(1)(encoder(start)))


def plain_keras():
    hidden = model.get_layer("encoder").get_layer("hidden")
    probe = keras.Model(model.inputs, hidden.output)
    return float(np.mean(np.sum(probe.predict(x, verbose=0) ** 2, axis=-1)))


def ours():
    wrapped = kp.models.HiddenOutputs(model, hidden={"hidden": "encoder/hidden"})
    wrapped.compile("sgd", hidden_losses={"hidden": kp.regularizers.L2(1.0)})
    logs = wrapped.evaluate(x, np.zeros((8, 1)), verbose=0, return_dict=True)
    return logs["loss"]
