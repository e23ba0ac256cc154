"""A mean over all devices as a penalty: what two TensorFlow replicas log."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

BACKENDS = ("tensorflow",)
DEVICES = 2

x = np.arange(16, dtype="float32").reshape(8, 2)
EXPECTED = 4.0 * (7**2 + 8**2)  # four penalties: the squared means of the columns


class Centers(layers.Layer):
    def call(self, h):
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        total = ops.sum(h, axis=0)
        rows = ops.cast(ops.shape(h)[0], "float32")
        if context is not None:
            total, rows = context.all_reduce(
                tf.distribute.ReduceOp.SUM,
                [total, rows],
            )
        self.add_loss(ops.sum(ops.square(total / rows)))
        return h


@keras.saving.register_keras_serializable("traps")
class Centered(kp.regularizers.BatchStatisticPenalty):
    def statistic(self, rows, weights):
        return ops.sum(ops.square(ops.sum(rows * weights[:, None], axis=0)))


def loss(make, devices):
    with devices.scope():
        start = h = keras.Input((2,))
        for _ in range(4):
            h = make()(h)
        model = keras.Model(start, layers.Dense(2, kernel_initializer="identity")(h))
        model.compile("sgd", "mse")
        return model.fit(x, x, batch_size=8, verbose=0).history["loss"][0]


def plain_keras(devices):
    return loss(Centers, devices)


def ours(devices):
    return loss(lambda: kp.layers.ActivityPenalty(Centered(1.0)), devices)
