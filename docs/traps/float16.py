"""Mixed precision: 64 activations of 64; 64 of 1 with a small strength."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = [26.2144, 6.4e-7]  # 1e-4 * 64 * 64**2 and 1e-8 * 64 * 1**2


def losses(L2):
    found = []
    for strength, size in ((1e-4, 64.0), (1e-8, 1.0)):
        layer = layers.Identity(
            dtype="mixed_float16",
            activity_regularizer=L2(strength),
        )
        layer(np.full((32, 64), size, "float32"))
        found.append(float(layer.losses[0]))
    return found


def plain_keras():
    return losses(keras.regularizers.L2)


def ours():
    return losses(kp.regularizers.L2)
