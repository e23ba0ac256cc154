"""A new layer after each layer of a Sequential model."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = "Sequential, 12"  # 3 units * 2**2

model = keras.Sequential(
    [keras.Input((2,)), layers.Dense(3, kernel_initializer="ones", name="hidden")],
)


def loss(model):
    model(np.ones((8, 2), "float32"))
    return f"{type(model).__name__}, {float(sum(model.losses)):g}"


def plain_keras():
    penalty = layers.ActivityRegularization(l2=1.0)

    def after(layer, *args, **kwargs):
        return penalty(layer(*args, **kwargs))

    return loss(
        keras.models.clone_model(
            model,
            clone_function=lambda layer: layer,
            call_function=after,
        ),
    )


def ours():
    return loss(kp.penalize(model, {"hidden": kp.regularizers.L2(1.0)}))
