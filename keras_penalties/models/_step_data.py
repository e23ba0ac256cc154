"""The data of a step, and the labels and weights in it for each hidden tensor."""

import contextlib
from dataclasses import dataclass, field, replace
from typing import Any

from keras import tree

from keras_penalties._types import Tensors


@dataclass
class StepData:
    """The inputs, labels and weights of a step.

    Attributes:
        x, y, sample_weight: as Keras' trainer passes them.
        outputs: the names of the model's outputs, in its own order.
        inputs: the names of its inputs, in its own order.
        one_weight: whether several arrays of weights are copies of one array, which Keras makes if `y` has
            several arrays.
    """

    x: Tensors
    y: Tensors
    sample_weight: Tensors
    outputs: list = field(default_factory=list)
    inputs: list = field(default_factory=list)
    one_weight: bool = False

    @property
    def keys(self) -> list:
        """The keys of `y`."""
        return list(self.y) if isinstance(self.y, dict) else []

    def of_outputs(self, targets) -> "StepData":
        """The same data without the labels among `targets` that belong to no output, and their weights."""
        y, weight = self.y, self.sample_weight
        extra = {key for key in self.keys if key in targets and key not in self.outputs}
        if not extra:
            return self
        y = {key: value for key, value in y.items() if key not in extra}
        if isinstance(weight, dict):
            weight = {key: value for key, value in weight.items() if key not in extra}
        if len(y) <= 1 and len(self.outputs) <= 1:
            key = next(iter(y), None)
            y = y.get(key)
            if isinstance(weight, dict):
                self._check_has_weight(weight, key, "an output")
                weight = weight.get(key)
        return replace(self, y=y, sample_weight=weight)

    def for_hidden(self, key, target: str | None, argument: str) -> tuple[Any, Any]:
        """The labels of a hidden tensor as one array, and their weights.

        Args:
            key: its key in `hidden_targets`.
            target: the value there, or None.
            argument: the argument that needs the labels, for errors.
        """
        if target is not None:
            return self.labels(target, f"hidden_targets[{key!r}]"), self.weight_of(target, argument)
        data = self.of_outputs(self.keys) if self.outputs else self
        return one_array(data.y, argument), data.common_weight(argument)

    def labels(self, target: str, argument: str) -> Any:
        """The labels, or the input, that `target` names. `argument` names it in errors."""
        if isinstance(self.y, dict) and target in self.y:
            return self.y[target]
        if target in self.outputs and self.y is not None:
            if not tree.is_nested(self.y) and len(self.outputs) == 1:
                return self.y
            if isinstance(self.y, (list, tuple)) and len(self.y) == len(self.outputs):
                return self.y[self.outputs.index(target)]
        found, x = _input_called(target, self.inputs, self.x)
        if found:
            return x
        raise ValueError(
            f"`{argument}` is {target!r}, which is neither a key of `y` nor an input of the model. "
            f"`y` {_described(self.y)}; the outputs are {_listed(self.outputs)}, and the inputs "
            f"{_listed(self.inputs)}."
        )

    def weight_of(self, target: str, argument: str) -> Any:
        """The weights that belong to the labels that `target` names."""
        weight = self.sample_weight
        if isinstance(weight, dict) and target in weight:
            return weight[target]
        of_outputs = isinstance(weight, (list, tuple)) and len(weight) == len(self.outputs)
        if of_outputs and target in self.outputs:
            return weight[self.outputs.index(target)]
        if tree.is_nested(weight) and not self.one_weight:
            self._check_has_weight((), target, f"the target of `{argument}`")
        return self.common_weight(argument)

    def _check_has_weight(self, weight, name, what):
        """Raise if there are weights, but no entry for `name` in `weight`. A loss without a weight of its
        own would train on rows that are meant to be left out, or get the weights of another."""
        if name is None or name in weight or not _arrays(self.sample_weight):
            return
        add = f"Add one for {name!r}, or pass" if name in self.keys else "Pass"
        raise ValueError(
            f"`sample_weight` has no array for {name!r}, {what}. Received: "
            f"{_named_weights(self.sample_weight)}. {add} one array, which counts for all."
        )

    def common_weight(self, argument: str) -> Any:
        """The weights as one array, or None."""
        weight = self.sample_weight
        arrays = _arrays(weight)
        # A `None` among the weights, and labels without a weight, count as an array of their own.
        several = max(len(tree.flatten(weight)), len(tree.flatten(self.y))) > 1
        if arrays and several and tree.is_nested(weight) and not self.one_weight:
            raise ValueError(
                f"`sample_weight` must be one array for `{argument}`. Received: {_named_weights(weight)}. "
                f"{_how_to_pick(argument, self.outputs)}"
            )
        return arrays[0] if arrays else None


def _arrays(weight):
    return [array for array in tree.flatten(weight) if array is not None]


def _named_weights(weight):
    """The arrays of weights in words."""
    count = len(_arrays(weight))
    arrays = f"{count} array{'s' * (count != 1)}"
    if not isinstance(weight, dict):
        return f"{arrays}, in a {type(weight).__name__} of {len(weight)}"
    return f"{arrays}, for {_listed([key for key, array in weight.items() if array is not None])}"


def one_label(y):
    """The labels of a model with one output as one tensor; others unchanged."""
    flat = tree.flatten(y)
    return flat[0] if len(flat) == 1 else y


def one_array(y, argument):
    """The labels as one array; an error that shows how to pick one if there are several."""
    y = one_label(y)
    if y is None:
        raise ValueError(
            f"`{argument}` is a loss between labels and a hidden tensor, but there is no `y`. To compare the "
            "tensor with an input of the model, name the input in `hidden_targets`."
        )
    if tree.is_nested(y):
        keys = list(y) if isinstance(y, dict) else []
        raise ValueError(
            f"`{argument}` takes one array of labels, but `y` {_described(y)}. {_how_to_pick(argument, keys)}"
        )
    return y


def _how_to_pick(argument, names):
    _, bracket, key = argument.partition("[")
    if not bracket:
        return "Pass one array of weights to `fit`, which counts for all outputs."
    name = repr(names[0]) if names else "the name of an output"
    return f"Say which one it gets: hidden_targets={{{key.rstrip(']')}: {name}}}."


def _input_called(name, names, x):
    """Whether `x` has an input of this name, and the input."""
    if isinstance(x, dict):
        return name in x, x.get(name)
    flat = tree.flatten(x)
    return (True, flat[names.index(name)]) if name in names and len(flat) == len(names) else (False, None)


def _described(y):
    if y is None:
        return "is None"
    if isinstance(y, dict):
        return f"has {len(y)}: {_listed(y)}"
    return f"is a {type(y).__name__} of {len(y)}" if tree.is_nested(y) else "is one array"


def _listed(names):
    return ", ".join(map(repr, names)) or "unknown"


@contextlib.contextmanager
def naming(argument, **tensors):
    """Add `argument` and the shapes of its inputs to an error; each backend raises its own kind."""
    try:
        yield
    except Exception as error:
        shapes = [f"{name} of shape {_shapes(x)}" for name, x in tensors.items() if x is not None]
        raise ValueError(f"`{argument}` cannot be computed from {', '.join(shapes)}. {error}") from error


def _shapes(tensors):
    return ", ".join(str(tuple(x.shape)) for x in tree.flatten(tensors) if x is not None)
