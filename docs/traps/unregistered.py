"""An unregistered penalty: what happens when its model is saved and loaded?"""

import os
import tempfile

import keras
from keras import layers, ops

import keras_penalties as kp

EXPECTED = "not saved: ValueError"


class Theirs(keras.regularizers.Regularizer):
    def __call__(self, x):
        return ops.sum(ops.square(x))

    def get_config(self):
        return {}


class Ours(kp.regularizers.PerExamplePenalty):
    def elements(self, x):
        return ops.square(x)


def saved(regularizer):
    model = keras.Sequential(
        [keras.Input((2,)), layers.Dense(3, activity_regularizer=regularizer)],
    )
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "model.keras")
        try:
            model.save(file)
        except ValueError as error:
            return f"not saved: {type(error).__name__}"
        try:
            keras.saving.load_model(file)
        except TypeError as error:
            return f"saved, not loaded: {type(error).__name__}"
    return "saved and loaded"


def plain_keras():
    return saved(Theirs())


def ours():
    return saved(Ours(1.0))
