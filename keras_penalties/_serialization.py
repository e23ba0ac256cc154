"""The package name under which classes are saved: the only place where saved names are made."""

import keras

PACKAGE = "keras_penalties"

register = keras.saving.register_keras_serializable(package=PACKAGE)


def is_registered(cls) -> bool:
    """Whether Keras can find the class or function `cls` again when a saved file names it."""
    return keras.saving.get_registered_name(cls) != cls.__name__
