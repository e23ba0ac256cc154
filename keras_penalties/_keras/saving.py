"""How Keras writes files."""

import keras

from keras_penalties._keras import private


def is_legacy() -> bool:
    """Whether a configuration is asked for that goes into a legacy HDF5 file (keras/src/legacy/saving)."""
    get = private.find("keras.src.backend.common.global_state.get_global_attribute")
    return bool(get("use_legacy_config", False))


def save_as(cls, registered):
    """Let files name `registered` where an object of `cls` is saved, a class that is made while a program
    runs (keras/src/saving/object_registration.py)."""
    names = private.find("keras.src.saving.object_registration.GLOBAL_CUSTOM_NAMES")
    names[cls] = keras.saving.get_registered_name(registered)


def without_compiling(config: dict) -> dict:
    """`config`, which `serialize_keras_object` has made of a model, without the arguments of `compile`
    (keras/src/saving/serialization_lib.py)."""
    return {key: value for key, value in config.items() if key != "compile_config"}
