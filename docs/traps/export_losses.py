"""The value of a penalty, from an endpoint of an exported model."""

import tempfile

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

BACKENDS = ("jax",)
EXPECTED = 12.0  # 3 units * 2**2

x = np.ones((8, 2), "float32")
start = keras.Input((2,))
hidden = layers.Dense(
    3,
    kernel_initializer="ones",
    activity_regularizer=keras.regularizers.L2(1.0),
)(start)
model = keras.Model(start, hidden)


def exported(model, function):
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "penalty",
        function,
        [keras.InputSpec(shape=(8, 2), dtype="float32")],
    )
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        served = tf.saved_model.load(folder)
        return float(served.penalty(x))


def plain_keras():
    def penalty(batch):
        model(batch)
        return sum(model.losses)

    return exported(model, penalty)


def ours():
    return exported(
        model,
        lambda batch: kp.regularizers.L2(1.0).measure(model(batch)),
    )
