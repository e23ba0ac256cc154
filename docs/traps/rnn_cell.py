"""A penalty on the state of a recurrent cell at each of four steps."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = 48.0  # 4 steps * 3 units * 2**2

x = np.ones((8, 4, 2), "float32")
options = {
    "kernel_initializer": "ones",
    "recurrent_initializer": "zeros",
    "activation": None,
}


class Cell(layers.SimpleRNNCell):
    def call(self, sequence, states, training=False):
        h, states = super().call(sequence, states, training=training)
        self.add_loss(ops.mean(ops.sum(ops.square(h), axis=-1)))
        return h, states


def model_of(cell):
    steps = keras.Input((4, 2))
    return keras.Model(steps, layers.RNN(cell, return_sequences=True)(steps))


def loss(model):
    model.compile("sgd", "mse")
    return model.fit(x, np.full((8, 4, 3), 2.0), verbose=0).history["loss"][0]


def plain_keras():
    return loss(model_of(Cell(3, **options)))


def ours():
    model = model_of(layers.SimpleRNNCell(3, name="cell", **options))
    return loss(kp.penalize(model, {"cell": kp.regularizers.L2(1.0)}))
