"""Penalties of a user: written outside of the package, each with one method."""

import keras
from keras import ops

import keras_penalties as kp


@keras.saving.register_keras_serializable(package="own_project")
class Imbalance(kp.regularizers.BatchStatisticPenalty):
    """How unequal the features' mean squares are: the sum of their squared distances from their mean."""

    def statistic(self, rows, weights):
        power = ops.sum(ops.square(rows) * weights[:, None], axis=0)
        return ops.sum(ops.square(power - ops.sum(power) / power.shape[0]))


@keras.saving.register_keras_serializable(package="own_project")
class Power(kp.regularizers.PerExamplePenalty):
    """A power of each activation, with an argument of its own."""

    def __init__(self, strength, exponent=4, per="example"):
        super().__init__(strength, per=per)
        self.exponent = exponent

    def elements(self, x):
        return x**self.exponent


@keras.saving.register_keras_serializable(package="own_project")
class Total(kp.regularizers.Penalty):
    """The squared sum of all activations that count: a penalty of neither family."""

    def value(self, x, mask):
        return ops.square(ops.sum(x))


@keras.saving.register_keras_serializable(package="own_project")
class Distance(kp.regularizers.Penalty):
    """How far two tensors are from each other: the mean over the batch of the squared distance."""

    tensors = 2

    def value(self, x, mask):
        return ops.sum(ops.square(x[0] - x[1])) / ops.cast(ops.shape(x[0])[0], x[0].dtype)
