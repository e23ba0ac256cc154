"""A named value in the training step of Keras' guide."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

BACKENDS = ("tensorflow",)
EXPECTED = 12.0  # 3 units * 2**2

x, y = np.ones((8, 2), "float32"), np.full((8, 3), 2.0, "float32")


class Penalizes(layers.Layer):
    def __init__(self):
        super().__init__()
        self.mean = keras.metrics.Mean(name="size")

    def call(self, h):
        loss = ops.mean(ops.sum(ops.square(h), axis=-1))
        self.add_loss(loss)
        self.mean.update_state(loss)
        return h


class Guide(keras.Model):
    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


def shown(layer):
    start = keras.Input((2,))
    model = Guide(start, layer(layers.Dense(3, kernel_initializer="ones")(start)))
    model.compile("sgd", "mse")
    return model.fit(x, y, verbose=0).history["size"][0]


def plain_keras():
    return shown(Penalizes())


def ours():
    return shown(kp.layers.ActivityPenalty(kp.regularizers.L2(1.0), name="size"))
