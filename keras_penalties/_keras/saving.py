"""How Keras writes files."""

import keras

from keras_penalties._keras import copies, private

KerasSaveable = private.find("keras.src.saving.keras_saveable.KerasSaveable")


def is_legacy() -> bool:
    """Whether Keras is writing a legacy HDF5 file (keras/src/legacy/saving)."""
    get = private.find("keras.src.backend.common.global_state.get_global_attribute")
    return bool(get("use_legacy_config", False))


def save_as(cls, registered):
    """Save objects of `cls`, a class that is created at run time, under the name of `registered`
    (keras/src/saving/object_registration.py)."""
    names = private.find("keras.src.saving.object_registration.GLOBAL_CUSTOM_NAMES")
    names[cls] = keras.saving.get_registered_name(registered)


def without_compiling(config: dict) -> dict:
    """`config`, the result of `serialize_keras_object` for a model, without the arguments of `compile`
    (keras/src/saving/serialization_lib.py)."""
    return {key: value for key, value in config.items() if key != "compile_config"}


@private.overrides("keras.src.saving.keras_saveable.KerasSaveable._obj_type")
class PartsOf(KerasSaveable):
    """The parts of a model, as Keras finds them when it reads or writes a file
    (keras/src/saving/saving_lib.py), without its own variables and what `compile` has set."""

    def __init__(self, model):
        self.__model = model

    def are_of(self, model) -> bool:
        return self.__model is model

    def __dir__(self):
        compiled = {*copies.of_trainers(), *(["loss"] if getattr(self.__model, "compiled", False) else [])}
        return [name for name in dir(self.__model) if name not in compiled]

    def __getattr__(self, name):
        if name in ("save_own_variables", "load_own_variables"):
            raise AttributeError(name)
        return getattr(self.__model, name)

    def _obj_type(self):
        return private.of(self.__model, "_obj_type")()
