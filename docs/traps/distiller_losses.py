"""A penalty of the student, as the only loss that is not zero."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 12.0  # 3 units * 2**2

x, y = np.ones((8, 2), "float32"), np.full((8, 3), 2.0, "float32")


def network(regularizer=None):
    dense = layers.Dense(
        3,
        kernel_initializer="ones",
        activity_regularizer=regularizer,
    )
    return keras.Sequential([keras.Input((2,)), dense])


def loss(model):
    model.compile("sgd", "mse")
    return model.evaluate(x, y, verbose=0, return_dict=True)["loss"]


def plain_keras():
    student = network(keras.regularizers.L2(1.0))
    return loss(
        keras.distillation.Distiller(
            network(),
            student,
            keras.distillation.LogitsDistillation(),
        ),
    )


def ours():
    student, teacher = network(kp.regularizers.L2(1.0)), network()
    teacher.trainable = False
    start = keras.Input((2,))
    hint = kp.layers.ActivityPenalty(kp.regularizers.Hint(1.0), name="hint")
    return loss(keras.Model(start, hint([student(start), teacher(start)])[0]))
