"""A centre that moves halfway to the rows in a batch: its place, and is it saved?"""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

EXPECTED = "0.8, saved"  # 0.5 * (2 * 4) / (1 + 4)

x, y = np.full((4, 1), 2.0, "float32"), np.zeros((4, 1), "float32")


def network():
    start = keras.Input((1,))
    return keras.Model(
        start,
        layers.Dense(1, kernel_initializer="ones", name="hidden")(start),
    )


class Center(keras.losses.Loss):
    def __init__(self):
        super().__init__()
        self.center = keras.Variable(0.0, trainable=False)

    def call(self, y_true, y_pred):
        rows = ops.cast(ops.shape(y_pred)[0], "float32")
        self.center.assign_add(
            0.5 * ops.sum(ops.stop_gradient(y_pred) - self.center) / (1 + rows),
        )
        return ops.square(y_pred - self.center)


def state(model, center, value):
    saved = any(weight is center for weight in model.weights)
    return f"{float(value):.1f}, {'saved' if saved else 'not saved'}"


def plain_keras():
    model, loss = network(), Center()
    model.compile(keras.optimizers.SGD(0.0), loss)
    model.fit(x, y, verbose=0)
    return state(model, loss.center, loss.center)


def ours():
    model = kp.models.HiddenOutputs(network(), hidden=["hidden"])
    model.compile(
        keras.optimizers.SGD(0.0),
        hidden_losses={"hidden": kp.losses.Center(1)},
    )
    model.fit(x, y, verbose=0)
    (center,) = model.non_trainable_weights
    return state(model, center, center[0][0])
