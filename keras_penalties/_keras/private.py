"""Access to private parts of Keras by name, with an error that says what is missing.

`parts.py` lists all of them. If another release of Keras has renamed a part, the error comes when the part is
used, not when this package is imported. It names the part, the release, and the releases that have it.
"""

import functools
import importlib
import sys
from typing import Any

import keras

from keras_penalties._keras.parts import PARTS
from keras_penalties._keras.private_part import TESTED, PrivatePart


class MissingPart(RuntimeError):
    """A private part of Keras, or of a backend, is missing in the installed release."""

    def __init__(self, part: PrivatePart):
        package = part.where.partition(".")[0]
        release = getattr(sys.modules.get(package), "__version__", "(not installed)")
        first, last = TESTED
        major, minor = last.split(".")
        super().__init__(
            f"{package} {release} has no `{part.where}`, a private part that keras_penalties needs to "
            f"{part.use}. Install a newer release of keras_penalties, or a release of Keras from {first} "
            f'to {last}: `pip install "keras>={first},<{major}.{int(minor) + 1}"`.'
        )
        self.part = part


def of(obj, name: str) -> Any:
    """The private attribute `name` of `obj`."""
    try:
        return getattr(obj, name)
    except AttributeError:
        part = _listed(obj, name)
        if hasattr(obj, name) or part is None:
            raise
        raise MissingPart(part) from None


def put(obj, name: str, value):
    """Set the private attribute `name` of `obj`, which must exist: Keras would ignore a new one."""
    of(obj, name)
    setattr(obj, name, value)


def find_now(where: str) -> Any:
    """The current object at a path like `"keras.src.utils.tracking.DotNotTrackScope"`, for objects that Keras
    replaces at run time, such as its global state in `clear_session`. A `Missing` object if it is missing."""
    try:
        return look_up(where)
    except (ImportError, AttributeError):
        return Missing(next(part for part in PARTS if part.where == where))


@functools.cache
def find(where: str) -> Any:
    """The private class, function or module at a path. If there is none, a `Missing` object, which raises an
    error when it is used."""
    return find_now(where)


def look_up(where: str) -> Any:
    """The object at a dotted path: a module, or a member of one at any depth."""
    names = where.split(".")
    for end in range(len(names), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(names[:end]))
        except ImportError:
            continue
        return functools.reduce(getattr, names[end:], found)
    raise ImportError(where)


class Missing:
    """A placeholder for a missing part. It raises `MissingPart` wherever it is used: read, called, in
    `isinstance`, or, if subclassed, when the first object is created."""

    def __init__(self, part: PrivatePart):
        self.part = part

    def __getattr__(self, name):
        raise MissingPart(self.part)

    def __call__(self, *args, **kwargs):
        raise MissingPart(self.part)

    def __instancecheck__(self, obj):
        raise MissingPart(self.part)

    def __mro_entries__(self, bases):
        return (_refusing(self.part),)


def overrides(*hooks: str):
    """Decorate a class that overrides private methods of Keras, the `hooks`, which Keras calls.

    If Keras called them by another name, they would silently never run, and named losses would read 0. So no
    object of such a class can be created then.
    """

    def check(cls):
        for part in PARTS:
            here = part.where in hooks and part.backend in (None, keras.backend.backend())
            if here and isinstance(find(part.where), Missing):
                cls.__new__ = _refusing(part).__new__
        return cls

    return check


def _refusing(part):
    def refuse(cls, *args, **kwargs):
        raise MissingPart(part)

    return type("Refusing", (), {"__new__": refuse})


def _listed(obj, name) -> PrivatePart | None:
    """The part called `name`: that of the class of `obj`, if several classes have one."""
    classes = {cls.__name__ for cls in type(obj).__mro__}
    parts = [part for part in PARTS if part.name == name]
    return next((part for part in parts if part.owner in classes), parts[0] if parts else None)
