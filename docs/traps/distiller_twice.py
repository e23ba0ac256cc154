"""The moving mean of a student's batch normalization after one batch."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 0.5  # moved once, half of the way from 0 to 1

x = np.ones((8, 2), "float32")


def networks():
    norm = layers.BatchNormalization(momentum=0.5, name="norm")
    student = keras.Sequential(
        [keras.Input((2,)), norm, layers.Dense(2, name="hidden")],
    )
    teacher = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="hidden")])
    teacher.trainable = False
    return student, teacher


def moving_mean(model, student):
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.train_on_batch(x, x)
    return float(student.get_layer("norm").moving_mean[0])


def plain_keras():
    student, teacher = networks()
    hint = keras.distillation.FeatureDistillation("mse", "hidden", "hidden")
    return moving_mean(keras.distillation.Distiller(teacher, student, hint), student)


def ours():
    student, teacher = networks()
    start = keras.Input((2,))
    hint = kp.layers.ActivityPenalty(kp.regularizers.Hint(1.0), name="hint")
    return moving_mean(
        keras.Model(start, hint([student(start), teacher(start)])[0]),
        student,
    )
