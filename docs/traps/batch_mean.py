"""A penalty that is a mean over the batch, at batch sizes 1, 5 and 50."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = [500.0, 500.0, 500.0]  # 5 * 10**2 for each example


class Theirs(keras.regularizers.Regularizer):
    def __call__(self, x):
        return ops.mean(ops.sum(ops.square(x), axis=-1))


@keras.saving.register_keras_serializable("traps")
class Ours(kp.regularizers.BatchStatisticPenalty):
    def statistic(self, rows, weights):
        return ops.sum(weights * ops.sum(ops.square(rows), axis=-1))


def losses(regularizer):
    dense = layers.Dense(
        5,
        kernel_initializer="ones",
        activity_regularizer=regularizer,
    )
    found = []
    for rows in (1, 5, 50):
        dense(2 * np.ones((rows, 5), "float32"))
        found.append(float(dense.losses[0]))
    return found


def plain_keras():
    return losses(Theirs())


def ours():
    return losses(Ours(1.0))
