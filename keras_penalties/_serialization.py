"""The package name under which classes are saved: the only place where saved names are made."""

import inspect
import re
from typing import Any, TypeVar

import keras

from keras_penalties._keras.optimizers import for_any_backend

PACKAGE = "keras_penalties"
T = TypeVar("T")


def register(named: T) -> T:
    """Save a class or function under the package's name. Keras' decorator, with types."""
    return keras.saving.register_keras_serializable(package=PACKAGE)(named)


def is_registered(cls) -> bool:
    """Whether Keras can find the class or function `cls` again when a saved file names it."""
    return keras.saving.get_registered_name(cls) != cls.__name__


class _SignatureOfInit:
    """The signature of a class is that of its `__init__`, although it has a `__new__`."""

    def __get__(self, instance, owner):
        if instance is not None:
            raise AttributeError("__signature__")
        signature = inspect.signature(owner.__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])


class Keywords:
    """An object that knows which keywords it was created with: `__init__` may pass `**kwargs` on."""

    __signature__ = _SignatureOfInit()
    _keywords: tuple = ()

    def __new__(cls, *args, **kwargs):
        created = super().__new__(cls)
        created._keywords = tuple(kwargs)
        return created


def kept_arguments(obj: Keywords) -> dict:
    """The arguments of `__init__` of `obj`, which it stores as attributes of the same names."""
    _, *parameters = inspect.signature(type(obj).__init__).parameters.values()
    names = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]
    if len(names) < len(parameters):
        names += [name for name in obj._keywords if name not in names]
    missing = [name for name in names if not hasattr(obj, name)]
    if missing:
        raise ValueError(
            f"{type(obj).__name__} cannot be saved: its arguments {', '.join(missing)} are not stored as "
            f"attributes of the same names. Store them in `__init__`, or define `get_config`."
        )
    return {name: getattr(obj, name) for name in names}


def made(cls, config, *names, custom_objects=None):
    """A `cls` from a saved config, with the objects that it contains under `names`."""
    if not isinstance(config, dict):
        raise TypeError(
            f"The config of {cls.__name__} must be a dict of its arguments. Received: {config!r:.80} (of "
            f"type {type(config).__name__}). Keras did not save this file."
        )
    config = for_any_backend(config)
    saved = {name: config[name] for name in names if isinstance(config.get(name), (dict, list))}
    return cls(**{**config, **{name: inner(value, custom_objects) for name, value in saved.items()}})


def inner(config, custom_objects=None) -> Any:
    """The object of a saved config that is inside an object of this package.

    If a class cannot create it, Keras would say so of the class of this package, after pages of config.
    """
    try:
        return keras.saving.deserialize_keras_object(config, custom_objects=custom_objects)
    except TypeError as error:
        classes = re.findall(r"<class '([^']+)'> could not be deserialized", str(error))
        if not classes:
            raise
        reason = re.split(r"Exception encountered: |during deserialization: ", str(error))[-1].strip()
        name = classes[-1].rsplit(".", 1)[-1]
        raise ValueError(
            f"A saved object of class {name} ({classes[-1]}) cannot be created: {reason}. Let `__init__` of "
            f"{name} take `**kwargs` and pass them to `super().__init__(**kwargs)`, and `get_config` return "
            "its own arguments. If you cannot change the class, create the model as before, and load its "
            "weights: `model.load_weights(path)`."
        ) from error
