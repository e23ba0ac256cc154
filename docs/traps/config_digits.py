"""A strength of 0.01 in a saved configuration."""

import keras

import keras_penalties as kp

EXPECTED = "0.01"


def plain_keras():
    return f"{keras.regularizers.L1(0.01).get_config()['l1']:.9g}"


def ours():
    return f"{kp.regularizers.L1(0.01).get_config()['strength']:.9g}"
