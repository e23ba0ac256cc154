"""The moving mean of a student's batch normalization after one batch."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 0.5  # moved once, half of the way from 0 to 1

x = np.ones((8, 2), "float32")
norm = layers.BatchNormalization(momentum=0.5)
student = keras.Sequential([keras.Input((2,)), norm, layers.Dense(2, name="hidden")])
teacher = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="hidden")])


def moving_mean(model):
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.train_on_batch(x, x)
    return float(norm.moving_mean[0])


def plain_keras():
    hint = keras.distillation.FeatureDistillation("mse", "hidden", "hidden")
    return moving_mean(keras.distillation.Distiller(teacher, student, hint))


def ours():
    teacher.trainable = False
    start = keras.Input((2,))
    hint = kp.layers.ActivityPenalty(kp.regularizers.Hint(1.0), name="hint")
    return moving_mean(keras.Model(start, hint([student(start), teacher(start)])[0]))
