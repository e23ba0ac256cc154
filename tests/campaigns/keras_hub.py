"""How much of each backbone of KerasHub can be named and penalized, and whether the values are right.

    KERAS_BACKEND=torch python -m tests.campaigns.keras_hub [CLASS ...]

It needs keras_hub, and prints a table in Markdown. Each model is small and random. What a layer computes is
recorded by a function in place of its `call`, in the plain model, and compared with what the penalty on its
name adds. Then the penalized model is saved, loaded and stripped.
"""

import contextlib
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import ops, tree

import keras_penalties as kp
from keras_penalties._keras.masks import get_keras_mask
from tests.campaigns.hub_configs import discover, small

ONE = {
    "do not run": "does not run",
    "give no floats": "gives no floats",
    "cannot be named, and do not run": "cannot be named, and does not run",
}


@dataclass
class Row:
    """What was found of one backbone: how many layers are in it, run, can be named, and have a penalty that
    adds the right value; why others have none; and what went wrong."""

    name: str
    layers: int = 0
    run: int = 0
    named: int = 0
    right: int = 0
    why: Counter = field(default_factory=Counter)
    faults: list = field(default_factory=list)

    HEAD = f"| backbone | layers | run | right | others |\n{'|---' * 5}|"

    def __str__(self):
        others = ", ".join([*self.reasons(), *(f"FAULT: {fault}" for fault in self.faults)])
        return f"| {self.name} | {self.layers} | {self.run} | {self.right} | {others} |"

    def reasons(self):
        """For each reason, how many layers have it; a reason in parentheses is one of the model."""
        for reason, count in sorted(self.why.items()):
            if reason.startswith("("):
                yield reason.strip("()")
            else:
                yield f"{count} {ONE.get(reason, reason) if count == 1 else reason}"


def batch_for(model, rows=2, seed=0):
    """A batch as the inputs of `model` describe it; masks drop the last steps."""
    random = np.random.default_rng(seed)

    def one(spec):
        shape, name = [rows, *(n or 8 for n in spec.shape[1:])], spec.name
        if name == "encoder_features":  # Whisper takes half as many steps as it is given
            shape[1] = 16
        if name == "masks" and len(shape) == 5:  # SAM: no mask is given
            shape[1:] = [0, 64, 64, 1]
        if name == "boxes" and len(shape) == 4:
            shape[1] = 1
        if name in ("encoder_input_values",):
            shape[1] = 1024
        if name == "num_steps":
            return np.full(shape, 2, spec.dtype)
        if "mask" in name and len(shape) == 2:
            mask = np.ones(shape, spec.dtype)
            mask[0, -2:] = 0
            return mask
        if spec.dtype == "bool" or "int" in spec.dtype:
            return random.integers(0, 2, shape).astype(spec.dtype)
        return random.normal(size=shape).astype(spec.dtype)

    return tree.map_structure(one, model.input)


@contextlib.contextmanager
def recorded(layers, method="call"):
    """Within, what each call of `layers` by `method` gives, by the id of the layer: the first tensor, and its
    values, which code on PyTorch may change afterwards."""
    found = {}

    def instead(layer, old):
        def call(*args, **kwargs):
            outputs = old(*args, **kwargs)
            tensor = next(iter(tree.flatten(outputs)), None)
            values = np.array(ops.convert_to_numpy(tensor)) if hasattr(tensor, "shape") else None
            found.setdefault(id(layer), []).append((tensor, values))
            return outputs

        return call

    for layer in layers:
        vars(layer)[method] = instead(layer, getattr(layer, method))
    try:
        yield found
    finally:
        for layer in layers:
            vars(layer).pop(method, None)


def arrays(model, x):
    return [ops.convert_to_numpy(y) for y in tree.flatten(model(x))]


def same(a, b):
    return len(a) == len(b) and all(np.array_equal(m, n, equal_nan=True) for m, n in zip(a, b, strict=True))


def l2_of(tensor, values):
    """The value of `L2(1.0)` on `tensor`, by NumPy; None if it is not a float tensor."""
    if values is None or not np.issubdtype(values.dtype, np.floating) or not values.ndim or not len(values):
        return None
    x, mask = values.astype("float64"), get_keras_mask(tensor)
    if mask is None:
        return np.sum(x**2) / len(x)
    mask = ops.convert_to_numpy(mask).astype(bool)
    mask = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
    return np.sum(np.where(mask, x, 0.0) ** 2) / max(1, np.any(mask, axis=tuple(range(1, x.ndim))).sum())


def values_of(model, x, penalties):
    """What the model adds, by name: the sum over the uses of a layer."""
    model(x)
    found = {}
    for layer in model._flatten_layers():
        if isinstance(layer, kp.layers.ActivityPenalty):
            name = next((n for n, p in penalties.items() if p is layer.penalty), layer.name)
            found[name] = found.get(name, 0.0) + sum(float(loss) for loss in layer.added_losses)
    return found


def checked(cls) -> Row:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = small(cls)
    return checked_model(model, batch_for(model))


def checked_model(model, x) -> Row:
    row = Row(type(model).__name__)
    layers = [
        v for v in model._flatten_layers(include_self=False) if not isinstance(v, keras.layers.InputLayer)
    ]
    before = arrays(model, x)
    with recorded(layers) as found:
        again = arrays(model, x)
    row.layers, row.run = len(layers), len(found)
    places = {place.name: place for place in _reachable(model)}
    covered = {id(place.operation) for place in places.values()}
    row.named = len([v for v in layers if id(v) in covered])
    if not same(before, again):
        row.why["(random: values are not compared)"] = 1
        return row
    for layer in layers:
        if id(layer) not in covered:
            row.why["cannot be named" if id(layer) in found else "cannot be named, and do not run"] += 1
    expected, done = {}, set()
    for name, place in places.items():
        if id(place.operation) in done:  # a layer can have several names
            continue
        done.add(id(place.operation))
        outputs = found.get(id(place.operation))
        values = [l2_of(*output) for output in outputs or ()]
        if outputs is None:
            row.why["do not run"] += 1
        elif None in values:
            row.why["give no floats"] += 1
        else:
            expected[name] = sum(values)
    penalties = {name: kp.regularizers.L2(1.0) for name in expected}
    penalized = kp.penalize(model, penalties)
    if type(penalized).__name__ != type(model).__name__ or not isinstance(penalized, type(model)):
        row.faults.append(f"is a {type(penalized).__name__}")
    if not same(arrays(penalized, x), before):
        row.faults.append("outputs differ")
    values = values_of(penalized, x, penalties)
    for name, value in expected.items():
        if np.isclose(values.get(name, 0.0), value, rtol=1e-3, atol=1e-6, equal_nan=True):
            row.right += 1
        else:
            row.why["wrong"] += 1
            row.faults.append(f"{name}: {values.get(name)} for {value}")
    try:
        files(row, model, penalized, x, before)
    except Exception as error:
        row.faults.append(f"files: {type(error).__name__}: {_short(error)}")
        log(error)
    return row


def files(row, model, penalized, x, before):
    """Save, load and strip; weight files both ways."""
    with tempfile.TemporaryDirectory() as folder:
        file, weights = Path(folder, "model.keras"), Path(folder, "model.weights.h5")
        plain = kp.strip(penalized)
        if type(plain) is not type(model) or not same(arrays(plain, x), before):
            row.faults.append("a stripped model differs")
        if "keras_penalties" in repr(keras.saving.serialize_keras_object(plain)):
            row.faults.append("a stripped model holds penalties")
        for one, other in ((model, penalized), (penalized, model)):
            one.save_weights(weights)
            other.load_weights(weights)
        if not same(arrays(model, x), before):
            row.faults.append("weight files differ")
        try:
            plain.save(file)
            again = arrays(keras.saving.load_model(file), x)
        except Exception as error:
            row.why["(the plain model cannot be loaded either)"] = 1
            log(error)
            return
        if not same(again, before):
            row.why["(the plain model differs when it is loaded, too)"] = 1
        penalized.save(file)
        loaded = keras.saving.load_model(file)
        if not same(arrays(loaded, x), again):
            row.faults.append("a loaded model differs")
        penalized(x)
        loaded(x)
        ours, theirs = (sum(map(float, found.losses)) for found in (penalized, loaded))
        if not np.isclose(ours, theirs, rtol=1e-5, equal_nan=True):
            row.faults.append("a loaded model adds something else")


def log(error):
    if "-v" in sys.argv:
        traceback.print_exception(error)


def _reachable(model):
    from keras_penalties._tensors import Search

    return Search(model, "pattern", "list_tensors").reachable()


def _short(error, most=160):
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines)[:most].replace("|", "/")


def main(names):
    print(f"{keras.backend.backend()}, Keras {keras.__version__}\n\n{Row.HEAD}", flush=True)
    rows = []
    for cls in discover():
        if names and cls.__name__ not in names:
            continue
        try:
            row = checked(cls)
        except Exception as error:
            row = Row(cls.__name__, faults=[f"{type(error).__name__}: {_short(error)}"])
            log(error)
        rows.append(row)
        print(row, flush=True)
    total = [f"**{sum(getattr(row, key) for row in rows):,}**" for key in ("layers", "run", "right")]
    print(f"| **{len(rows)} backbones** | {' | '.join(total)} | |")
    print(f"\n{sum(bool(row.faults) for row in rows)} backbones have faults.")


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if name != "-v"])
