"""A registered regularizer, passed by its name as Keras' own can be."""

import keras

import keras_penalties as kp

ENDED = False
EXPECTED = "L2"


@keras.saving.register_keras_serializable("traps")
class Theirs(keras.regularizers.Regularizer):
    pass


def plain_keras():
    return type(keras.regularizers.get("traps>Theirs")).__name__


def ours():
    assert kp.regularizers.L2 is keras.saving.get_registered_object(
        "keras_penalties>L2",
    )
    return type(keras.regularizers.get("keras_penalties>L2")).__name__
