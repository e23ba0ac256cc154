"""All that can be reached from an object, as a dict that two moments can be compared by."""

import random
import weakref

import keras
import numpy as np

# Where a walk ends: code, which no step changes, and packages that hold the process together.
ENDS = ("builtins", "types", "weakref", "functools", "inspect", "tensorflow", "jax", "torch", "flax")


def fingerprint(root) -> dict:
    """Numbers and texts by the path that leads to them; of arrays and variables, their bytes; of all else,
    the identity. Random generators of the process count too, and what Keras would name the next layer."""
    found, done = {}, {}
    todo = [("model", root)]
    while todo:
        path, value = todo.pop()
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            found[path] = repr(value)
            continue
        found[path] = f"{type(value).__name__} {id(value)}"
        if id(value) in done:
            continue
        done[id(value)] = value
        if hasattr(value, "shape") and not isinstance(value, keras.KerasTensor):
            found[path] += f" {_bytes(value)}"
        elif isinstance(value, dict):
            todo += [(f"{path}[{_name(k)}]", v) for k, v in list(value.items())]
            found[f"{path}: keys"] = repr([_name(k) for k in value])
        elif isinstance(value, (list, tuple)):
            todo += [(f"{path}[{i}]", v) for i, v in enumerate(value)]
            found[f"{path}: length"] = repr(len(value))
        elif isinstance(value, (set, frozenset)):
            found[f"{path}: members"] = repr(sorted(map(_name, value)))
        elif type(value).__module__.split(".")[0] not in ENDS and hasattr(value, "__dict__"):
            todo += [(f"{path}.{name}", v) for name, v in list(vars(value).items())]
            found[f"{path}: attributes"] = repr(sorted(vars(value)))
    state = np.random.get_state()
    found["random"] = repr((random.getstate(), state[1].tobytes(), state[2]))
    found["keras.random"] = _bytes(_global_seed())
    return found


def differences(before: dict, after: dict) -> list:
    return sorted(
        f"{path}: {before.get(path)} -> {after.get(path)}"
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    )


def _name(key):
    return repr(key) if isinstance(key, (str, int, float, bool, type(None))) else f"{id(key)}"


def _bytes(value):
    value = value.value if isinstance(value, keras.Variable) else value
    if isinstance(value, weakref.ref) or not hasattr(value, "shape"):
        return ""
    try:
        return np.asarray(keras.ops.convert_to_numpy(value)).tobytes().hex()[:400]
    except Exception:  # a symbolic tensor
        return ""


def _global_seed():
    from keras.src.backend.common.global_state import get_global_attribute

    return getattr(get_global_attribute("global_seed_generator"), "state", None)
