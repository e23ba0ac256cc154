"""A student that is wrong by 2 on half of the rows, whose weight is 0."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 0.0

x, y = np.ones((8, 2), "float32"), np.full((8, 3), 2.0, "float32")
y[4:] = 4.0
weights = np.repeat([1.0, 0.0], 4)


def network():
    return keras.Sequential(
        [keras.Input((2,)), layers.Dense(3, kernel_initializer="ones")],
    )


def loss(model):
    model.compile("sgd", "mse")
    logs = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    return logs["loss"]


def plain_keras():
    loss_to_teacher = keras.distillation.LogitsDistillation()
    distiller = keras.distillation.Distiller(
        network(),
        network(),
        loss_to_teacher,
        student_loss_weight=1.0,
    )
    return loss(distiller)


def ours():
    student, teacher = network(), network()
    teacher.trainable = False
    start = keras.Input((2,))
    hint = kp.layers.ActivityPenalty(kp.regularizers.Hint(1.0), name="hint")
    return loss(keras.Model(start, hint([student(start), teacher(start)])[0]))
