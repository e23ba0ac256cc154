"""Everything that a training step can change in a model, and how to restore it."""

import collections
import random
import sys
import threading
import weakref
from typing import Any

import keras
import numpy as np

from keras_penalties._keras import private

# Objects of these packages are searched only if `Snapshot` names their class.
FOREIGN = {"tensorflow", "jax", "jaxlib", "torch", "flax", "numpy", *sys.stdlib_module_names}
CONTAINERS = dict, list, set, collections.deque
WEAK = weakref.WeakKeyDictionary, weakref.WeakValueDictionary


class Snapshot:
    """Everything reachable from a model: attributes, containers, variables, random generators.

    As a context manager it restores all of that at the end, whether or not an error is raised:

        with Snapshot(model):
            model.train_step(data)

    It saves attributes and not only variables, because a step also leaves losses, values for the logs,
    metrics that it has built, and everything that a user's own `train_step` stores in Python.

    Attributes:
        objects: all objects that were found.
    """

    def __init__(self, *roots):
        self.objects, self._undo, found_before = [], [], set()
        # Names, seeds and scopes that Keras stores for a thread.
        self._todo = [*roots, private.find_now("keras.src.backend.common.global_state.GLOBAL_STATE_TRACKER")]
        while self._todo:
            found = self._todo.pop()
            if id(found) not in found_before:
                found_before.add(id(found))
                self.objects.append(found)  # keeps it alive, so that no other object gets its id
                self._save(found)
        for read, write in _generators():
            self._save_value(read, write)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.restore()

    def restore(self):
        errors = []
        for undo in self._undo:  # all of them, even if one fails
            try:
                undo()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _save(self, found):
        if isinstance(found, keras.Variable):
            self._save_variable(found)
        elif _is_torch(found, "Tensor"):
            self._save_value(lambda: found.detach().clone(), lambda saved: found.data.copy_(saved))
            if found.is_leaf:
                self._save_value(lambda: found.grad, lambda saved: setattr(found, "grad", saved))
        elif _is_tensorflow_variable(found):
            self._save_value(found.read_value, found.assign)
        elif isinstance(found, np.ndarray):
            if found.flags.writeable:
                self._save_value(found.copy, lambda saved: np.copyto(found, saved))
        elif isinstance(found, (np.random.Generator, np.random.RandomState)):
            is_new = isinstance(found, np.random.Generator)
            bits = found.bit_generator if is_new else private.of(found, "_bit_generator")
            self._save_value(lambda: bits.state, lambda saved: setattr(bits, "state", saved))
        elif isinstance(found, random.Random):
            self._save_value(found.getstate, found.setstate)
        elif isinstance(found, (tuple, frozenset)):
            self._todo.extend(found)
        elif issubclass(type(found), CONTAINERS):
            self._save_container(found)
            if hasattr(found, "__dict__"):  # a container that Keras or TensorFlow tracks
                self._save_container(vars(found))
        elif isinstance(found, CONTAINERS):  # a proxy that TensorFlow puts around the dicts of a model
            proxy: Any = found
            self._todo.append(proxy.__wrapped__)
        elif _has_attributes(found):
            self._save_container(vars(found))

    def _save_variable(self, variable):
        value = private.of(variable, "_value")  # `value` may be cast; None if it is not built yet
        if keras.backend.backend() != "jax":
            self._todo.append(value)
        elif value is not None:
            self._save_value(lambda: value, variable.assign)

    def _save_value(self, read, write):
        saved = read()
        self._undo.append(lambda: write(saved))

    def _save_container(self, found):
        saved = _members(found)
        self._todo.extend(saved)

        def undo():
            now = _members(found)
            if len(now) != len(saved) or any(a is not b for a, b in zip(now, saved, strict=True)):
                _fill(found, saved)

        self._undo.append(undo)


def _members(container) -> list:
    """The members of a list, set or deque; the keys, then the values, of a dict."""
    if isinstance(container, dict):
        return [*container.keys(), *container.values()]
    return list(container)


def _fill(container, members):
    """Replace the members of `container`, with the methods of its base class: a container that Keras or
    TensorFlow tracks would track them again, or reject the change."""
    base: Any
    if isinstance(container, dict):
        base = collections.OrderedDict if isinstance(container, collections.OrderedDict) else dict
        base.clear(container)
        half = len(members) // 2
        for key, value in zip(members[:half], members[half:], strict=True):
            base.__setitem__(container, key, value)
        return
    base = next(kind for kind in CONTAINERS if isinstance(container, kind))
    base.clear(container)
    fill: Any = base.update if base is set else base.extend
    fill(container, members)


def _has_attributes(found) -> bool:
    if isinstance(found, (threading.local, *WEAK)) or _is_torch(found, "optim", "Optimizer"):
        return True
    package = type(found).__module__.partition(".")[0]
    return package not in FOREIGN and isinstance(getattr(found, "__dict__", None), dict)


def _is_torch(found, *path) -> bool:
    kind: Any = sys.modules.get("torch")
    for name in path:
        kind = getattr(kind, name, None)
    return kind is not None and isinstance(found, kind)


def _is_tensorflow_variable(found) -> bool:
    kind = getattr(sys.modules.get("tensorflow"), "Variable", None)
    return kind is not None and isinstance(found, kind)


def _generators():
    """Functions that read and set the global random generators."""
    yield random.getstate, random.setstate
    yield np.random.get_state, np.random.set_state
    if keras.backend.backend() == "torch":
        import torch

        yield torch.get_rng_state, torch.set_rng_state
