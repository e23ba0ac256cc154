"""Rebuild a model with some layers replaced: the layers around them are copied, all others are shared."""

from __future__ import annotations

from typing import Any

import keras
from keras import tree

from keras_penalties._keras import copies, graphs
from keras_penalties._keras import layers as keras_layers


class Rebuild:
    """Copies layers and models with the changes that a subclass defines, but no layer without changes.

    Attributes:
        made: the copy of each layer, or the layer itself, by the id of the original.
    """

    def __init__(self):
        self.made: dict[int, Any] = {}
        self._originals: list = []  # an id is valid only while its object exists

    # Defined by subclasses.

    def is_changed(self, layer) -> bool:
        """Whether `layer` itself changes, apart from the layers inside it."""
        return False

    def is_plain(self, layer) -> bool:
        """Whether `layer` is saved by Keras itself, as a plain graph of layers."""
        return graphs.is_plain(layer)

    def prepare(self, layer):
        """Inspect `layer` before the layers inside it."""

    def class_of(self, layer, outermost: bool) -> type:
        """The class of the copy. `outermost` means that only plain graphs of layers are around it."""
        return type(layer)

    def around(self, holder, operation, use: int) -> tuple[list, list]:
        """The receivers before and after a call of `operation` in the graph `holder`."""
        return [], []

    def is_dropped(self, operation) -> bool:
        """Whether the graph skips `operation`, and uses its input instead of its output."""
        return False

    def finish(self, new, layer):
        """Finish `new`, the copy of `layer`."""

    # Copying.

    def of(self, layer, outermost: bool = True):
        """`layer` with its changes."""
        if id(layer) not in self.made:
            self._originals.append(layer)
            self.made[id(layer)] = layer  # for a layer that refers to a layer around it
            self.prepare(layer)
            plain = outermost and self.is_plain(layer)
            others = {id(inner): self.of(inner, plain) for inner in keras_layers.held_by(layer)}
            others = {key: new for key, new in others.items() if id(new) != key}
            if others or self.is_changed(layer):
                dropped = [inner for inner in graphs.operations(layer) if self.is_dropped(inner)]
                others |= {id(inner): None for inner in dropped}
                self.made[id(layer)] = self._copy(layer, others, outermost)
        return self.made[id(layer)]

    def _copy(self, layer, others, outermost):
        cls, graph = self.class_of(layer, outermost), {}
        if graphs.is_graph(layer) and isinstance(layer, keras.Sequential):
            graph["stack"] = self._stack(layer, others)
        elif graphs.is_graph(layer):
            graph["outputs"] = self._rewired(layer, others)
        new = copies.copy(layer, others, cls, **graph)
        self.finish(new, layer)
        return new

    def _stack(self, model, others):
        """The layers of a Sequential model with its changes, after its input."""
        stack = [model.inputs[0], *(r.layer for r in self._on_input(model, model.inputs[0]))]
        for layer in model.layers:
            before, after = self.around(model, layer, 0)
            stack += [receiver.layer for receiver in before]
            if not self.is_dropped(layer):
                stack.append(others.get(id(layer), layer))
            stack += [receiver.layer for receiver in after]
        return stack

    def _rewired(self, model, others):
        """The outputs of the graph of `model` with its changes, on the inputs of `model`."""
        uses = {name: iter(calls) for name, calls in graphs.graph_calls(model).items()}

        def call(operation, *args, **kwargs):
            use, _ = next(uses[operation.name])
            before, after = self.around(model, operation, use)
            names = list(kwargs)
            inputs = args[0] if args else kwargs[names[0]]
            inputs = through(before, inputs, model)
            if self.is_dropped(operation):
                return inputs
            if args:
                args = (inputs, *args[1:])
            else:
                kwargs[names[0]] = inputs
            outputs = others.get(id(operation), operation)(*args, **kwargs)
            return through(after, outputs, model)

        inputs = [through(self._on_input(model, x), x, model) for x in model.inputs]
        return graphs.outputs_of(model, inputs, call)

    def _on_input(self, model, x):
        """The receivers on an input of `model`, which no call in the graph computes."""
        return self.around(model, graphs.origin(x), 0)[1]


def through(receivers, tensors, graph):
    """`tensors` of the functional model `graph`, after each of `receivers` was called on its tensor and its
    result replaced that tensor."""
    flat = tree.flatten(tensors)
    for receiver in receivers:
        kind, index = receiver.part.kind, receiver.part.index
        if kind == "input" and index is None and len(flat) > 1:
            flat = list(receiver.in_graph(flat, graph))
        elif (index or 0) < len(flat):
            flat[index or 0] = receiver.in_graph(flat[index or 0], graph)
        else:
            raise ValueError(
                f"'{receiver.layer.name}' needs tensor {index}, but the layer is called on {len(flat)}. "
                f"Indices are counted from 0: name one of at most {len(flat) - 1}."
            )
    return tree.pack_sequence_as(tensors, flat) if receivers else tensors
