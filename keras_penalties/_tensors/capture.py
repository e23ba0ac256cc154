"""Hidden tensors of a model, as a forward pass computes them."""

from __future__ import annotations

import threading
from typing import Any

import keras
from keras import tree

from keras_penalties._tensors.search import Tensor
from keras_penalties._tensors.taps import Receiver, Tap, Tapping

_local = threading.local()


class Catcher(keras.layers.Layer):
    """Keeps what it is called on, under a name, for the pass that is open on its thread. It gives it back as
    it is."""

    def __init__(self, key: str):
        super().__init__(autocast=False)
        self.key, self.built, self.supports_masking = key, True, True

    def call(self, inputs):
        for caught in getattr(_local, "stack", [])[-1:]:
            caught.setdefault(self.key, []).append(inputs)
        return inputs

    def compute_output_spec(self, inputs):
        return tree.map_structure(lambda x: keras.KerasTensor(x.shape, dtype=x.dtype), inputs)


class Capture:
    """A model that hands out hidden tensors beside its outputs, in one forward pass.

    Args:
        model: the model.
        tensors: the hidden tensors, by name.
    """

    def __init__(self, model, tensors: dict[str, Tensor]):
        self.model, self.tensors = model, tensors
        taps = [Tap(tensor, Receiver(tensor.part, Catcher(name))) for name, tensor in tensors.items()]
        self.tapped = Tapping(taps).of(model)

    def __call__(self, inputs, **kwargs) -> tuple[Any, dict]:
        """The outputs of the model, and its hidden tensors by name."""
        caught: dict[str, list] = {}
        _local.__dict__.setdefault("stack", []).append(caught)
        try:
            outputs = self.tapped(inputs, **kwargs)
        finally:
            _local.stack.pop()
        return outputs, {name: self._one(name, caught.get(name, [])) for name in self.tensors}

    def _one(self, name: str, found: list):
        """Of what was caught in the order in which the model runs, the use that is meant."""
        tensor = self.tensors[name]
        place = tensor.place.name
        index = 0
        for step, use in zip(reversed(tensor.place.around[:-1]), tensor.uses[:-1], strict=False):
            index = index * max(1, len(step.calls)) + run_order(step, use)
        if not found:
            raise ValueError(
                f"`hidden` names '{place}', which did not run in this pass: the code of "
                f"{type(tensor.place.around[0].operation).__name__} passes it by."
            )
        if not tensor.place.calls and len(found) > 1 and tensor.use is None:
            raise ValueError(
                f"`hidden` names '{place}', which ran {len(found)} times in this pass. Say which: "
                f"'{place}@0'."
            )
        return found[index if len(found) > index else -1]


def run_order(place, use: int | None) -> int:
    """How many calls of the layer at `place` a graph runs before the use that is meant."""
    order = [number for number, _ in place.calls]
    return order.index(use) if use in order else use or 0


def specs(capture: Capture) -> dict:
    """The hidden tensors as symbolic ones, by name: their shapes, as far as they are known before the model
    runs."""
    found = {}
    for name, tensor in capture.tensors.items():
        place = tensor.place
        if place.calls and tensor.part.kind == "output":
            outputs = dict(place.calls)[tensor.use or 0]
            if (tensor.part.index or 0) < len(outputs):
                found[name] = outputs[tensor.part.index or 0]
    return found
