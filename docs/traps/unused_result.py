"""A penalty whose result is not used: the divergence of a variational autoencoder."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = 6.0  # 3 units * 0.5 * 2**2: the log variances are 0

x = np.ones((8, 2), "float32")


class Sampling(layers.Layer):
    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(0)

    def call(self, inputs):
        mean, log_var = inputs
        return mean + ops.exp(0.5 * log_var) * keras.random.normal(
            ops.shape(mean),
            seed=self.seed,
        )


class Divergence(layers.Layer):
    def call(self, inputs):
        mean, log_var = inputs
        by_unit = 0.5 * (mean**2 + ops.exp(log_var) - 1.0 - log_var)
        self.add_loss(ops.mean(ops.sum(by_unit, axis=-1)))
        return inputs


def loss_of(divergence, use_its_result):
    start = keras.Input((2,))
    mean = layers.Dense(3, kernel_initializer="ones")(start)
    log_var = layers.Dense(3, kernel_initializer="zeros")(start)
    passed_on = divergence([mean, log_var])
    code = Sampling()(passed_on if use_its_result else [mean, log_var])
    model = keras.Model(start, layers.Dense(2)(code))
    model(x)
    return float(sum(model.losses))


def plain_keras():
    return loss_of(Divergence(), use_its_result=False)


def ours():
    penalty = kp.layers.ActivityPenalty(
        kp.regularizers.GaussianKL(1.0),
        name="divergence",
    )
    return loss_of(penalty, use_its_result=True)
