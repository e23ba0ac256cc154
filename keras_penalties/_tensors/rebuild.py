"""Rebuild a model with some layers changed.

A graph of layers is rebuilt on the inputs of the original. Layers before the first change are shared with the
original, and so are their tensors. Those after it are called on new tensors. They are copied, since Keras'
`layer.output` is the tensor of the first call. So `layer.output` of each layer of the new model is a tensor
of the new graph, and parts can be cut from it. A copy shares variables and sublayers with its original.
"""

from __future__ import annotations

from typing import Any

from keras import tree

from keras_penalties._keras import copies, graphs
from keras_penalties._keras import layers as keras_layers


class Rebuild:
    """Copies the layers and models with changes, which a subclass defines, and those after them in a graph.

    Each layer has one copy, wherever it is used. So all copies are chosen before the first is made.

    Attributes:
        made: the copy of each layer, or the layer itself, by the id of the original.
        changed: the ids of the layers with changes, their own or those of layers inside them.
        moved: the ids of other layers and operations that are called on new tensors, and of the layers that
            contain such a layer.
    """

    copies_moved = True  # otherwise, layers that are only called on new tensors are shared

    def __init__(self):
        self.made: dict[int, Any] = {}
        self.changed: set[int] = set()
        self.moved: set[int] = set()
        # An id is valid only while its object exists, so each is kept.
        self._found: dict[int, tuple] = {}  # a layer, and the layers inside it
        self._called: dict[tuple, tuple] = {}  # by node and arguments: the arguments, and the outputs

    # Defined by subclasses.

    def is_changed(self, layer) -> bool:
        """Whether `layer` itself changes, apart from the layers inside it."""
        return False

    def is_plain(self, layer) -> bool:
        """Whether `layer` is saved by Keras itself, as a plain graph of layers."""
        return graphs.is_plain(layer)

    def prepare(self, layer):
        """Inspect `layer` before the layers inside it."""

    def in_place_of(self, layer):
        """The layer that is used instead of `layer`, with its own changes."""
        return layer

    def class_of(self, layer, outermost: bool) -> type:
        """The class of the copy of a layer with changes. `outermost` means that only plain graphs of layers
        are around it."""
        return type(layer)

    def around(self, holder, operation, use: int) -> tuple[list, list]:
        """The receivers before and after a call of `operation` in the graph `holder`."""
        return [], []

    def is_dropped(self, operation) -> bool:
        """Whether the graph skips `operation`, and uses its input instead of its output."""
        return False

    def finish(self, new, layer):
        """Finish `new`, the copy of `layer`."""

    # Choosing.

    def of(self, layer):
        """`layer` with its changes."""
        return self.of_all([layer])[0]

    def of_all(self, layers, outermost: bool = True) -> list:
        """`layers` with their changes. `outermost` means that only plain graphs of layers are around them."""
        for layer in layers:
            self._find(layer, set())
        chosen = -1
        while chosen < len(self.changed) + len(self.moved):
            chosen = len(self.changed) + len(self.moved)
            for layer, inside in self._found.values():
                self._choose(layer, inside)
        return [self._of(layer, outermost) for layer in layers]

    def _find(self, layer, around: set):
        """Find `layer` and the layers inside it, but not those `around` it that it refers to."""
        if id(layer) in self._found:
            return
        other = self.in_place_of(layer)
        if other is not layer:
            self.changed.add(id(layer))
            self._found[id(layer)] = layer, [other]
            self._find(other, around)
            return
        self.prepare(layer)
        self._found[id(layer)] = layer, []
        around = {*around, id(layer)}
        for inner in keras_layers.held_by(layer):
            self._find(inner, around)
            if id(inner) not in around:
                self._found[id(layer)][1].append(inner)

    def _choose(self, layer, inside):
        if self.is_changed(layer) or any(id(inner) in self.changed for inner in inside):
            self.changed.add(id(layer))
        if any(self._is_copied(inner) for inner in inside):
            self.moved.add(id(layer))
        if self._is_copied(layer) and graphs.is_graph(layer):
            self._choose_moved(layer)

    def _choose_moved(self, holder):
        model = graphs.as_functional(holder)
        new = {id(x) for x in model.inputs if self._on_input(holder, x)}
        for use, node in graphs.calls(model):
            before, after = self.around(holder, node.operation, use)
            if before or any(id(x) in new for x in node.input_tensors):
                self.moved.add(id(node.operation))
            if after or self.is_dropped(node.operation) or self._is_called_again(node.operation):
                new |= {id(x) for x in node.outputs}

    def _is_called_again(self, operation) -> bool:
        return id(operation) in self.changed or id(operation) in self.moved

    def _is_copied(self, layer) -> bool:
        return id(layer) in self.changed or (self.copies_moved and id(layer) in self.moved)

    # Copying.

    def _of(self, layer, outermost):
        if id(layer) not in self.made:
            self.made[id(layer)] = layer  # for a layer that refers to a layer around it
            other = self.in_place_of(layer)
            if other is not layer:
                self.made[id(layer)] = self._of(other, outermost)
                return self.made[id(layer)]
            plain = outermost and self.is_plain(layer)
            inside, operations = keras_layers.held_by(layer), graphs.operations(layer)
            others = {id(inner): self._of(inner, plain) for inner in inside if inner in operations}
            is_rewired = self._is_copied(layer) and graphs.is_graph(layer)
            tensors = self._rewired(layer, others) if is_rewired else {}
            # After its own graph, since an attribute may be a part of the graph, as another model.
            others |= {id(inner): self._of(inner, plain) for inner in inside}
            if self._is_copied(layer):
                others = {key: new for key, new in others.items() if id(new) != key}
                others |= {id(inner): None for inner in operations if self.is_dropped(inner)}
                self.made[id(layer)] = self._copy(layer, others, tensors, outermost)
        return self.made[id(layer)]

    def _copy(self, layer, others, tensors, outermost):
        cls = self.class_of(layer, outermost) if id(layer) in self.changed else type(layer)
        outputs = None
        if graphs.is_graph(layer):
            model = graphs.as_functional(layer)
            outputs = tree.map_structure(lambda x: tensors[id(x)], model.output)
            inputs = {id(x) for x in model.inputs}
            others |= {key: new for key, new in tensors.items() if id(new) != key and key not in inputs}
        new = copies.copy(layer, others, cls, outputs)
        self.finish(new, layer)
        return new

    def _rewired(self, holder, others):
        """The tensors of the graph of `holder` with its changes, on its own inputs, each by the id of the
        original."""
        model = graphs.as_functional(holder)

        def call(use, node, *args, **kwargs):
            operation = node.operation
            before, after = self.around(holder, operation, use)
            names = list(kwargs)
            inputs = args[0] if args else kwargs[names[0]]
            inputs = through(before, inputs, holder)
            if self.is_dropped(operation):
                return inputs
            if not self._is_called_again(operation):
                return through(after, list(node.outputs), holder)
            if args:
                args = (inputs, *args[1:])
            else:
                kwargs[names[0]] = inputs
            key = (id(node), *(id(x) for x in tree.flatten((args, kwargs))))
            if key not in self._called:  # otherwise, another graph has the same call
                outputs = others.get(id(operation), operation)(*args, **kwargs)
                self._called[key] = args, kwargs, outputs
            return through(after, self._called[key][-1], holder)

        inputs = [through(self._on_input(holder, x), x, holder) for x in model.inputs]
        return graphs.tensors_of(model, inputs, call)

    def _on_input(self, holder, x):
        """The receivers on an input of `holder`, which no call in the graph computes."""
        return self.around(holder, graphs.origin(x), 0)[1]


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
