"""Graphs of layers, as far as Keras keeps them private."""

import collections
import inspect
import os
from typing import Any

import keras
from keras import tree

from keras_penalties._keras import private

Functional = private.find("keras.src.models.functional.Functional")


def tensors_of(model, inputs, call) -> dict:
    """The tensors of the graph of a functional model on `inputs`, a flat list, in which
    `call(use, node, *args, **kwargs)` replaces each call: each by the id of that of `model`."""
    computed = {id(x): new for x, new in zip(model.inputs, inputs, strict=True)}
    for use, node in calls(model):
        args, kwargs = node.arguments.fill_in(computed)
        outputs = tree.flatten(call(use, node, *args, **kwargs))
        computed |= {id(x): new for x, new in zip(node.outputs, outputs, strict=True)}
    return computed


def calls(model):
    """The calls in the graph of a functional model, each after those whose outputs it takes, and those of one
    layer or operation in order of creation: pairs of (number of the call, its node)."""
    waiting = [node for node in _nodes(model) if not node.is_input]
    uses = _uses(waiting)
    known, following = {id(x) for x in model.inputs}, collections.Counter()
    while waiting:
        left = []
        for node in waiting:
            operation = id(node.operation)
            if uses[node] == following[operation] and all(id(x) in known for x in node.input_tensors):
                yield uses[node], node
                known |= {id(x) for x in node.outputs}
                following[operation] += 1
            else:
                left.append(node)
        if len(left) == len(waiting):  # the numbers do not say when they were created
            yield from ((uses[node], node) for node in left)
            return
        waiting = left


def _nodes(model) -> list:
    """The nodes of the graph of a functional model, in the order in which it runs them."""
    by_depth = private.of(model, "_nodes_by_depth")
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _uses(nodes) -> dict:
    """The number of each of `nodes` among those of its operation, in order of creation."""
    of_operations = {}
    for node in nodes:
        of_operations.setdefault(id(node.operation), []).append(node)
    uses = {}
    for own in of_operations.values():
        created = private.of(own[0].operation, "_inbound_nodes").index
        uses |= {node: use for use, node in enumerate(sorted(own, key=created))}
    return uses


def origin(x) -> Any:
    """The layer or operation that computes a symbolic tensor (keras/src/ops/node.py), or None."""
    return private.of(x, "_keras_history").operation if hasattr(x, "_keras_history") else None


def is_plain(layer) -> bool:
    """Whether `layer` is only a graph of layers, so that its configuration describes it completely."""
    return type(layer) in (Functional, keras.Sequential, keras.Model) and is_graph(layer)


def used_tensors(model) -> set:
    """The ids of the tensors that the graph of a functional model uses, or returns."""
    return {id(x) for x in [*(x for node in _nodes(model) for x in node.input_tensors), *model.outputs]}


def is_functional(model) -> bool:
    """Whether `model` is a functional model, whose graph can be rebuilt with the same layers."""
    return isinstance(model, Functional)


def is_graph(layer) -> bool:
    """Whether `layer` is a graph of layers: a functional model, or a Sequential model with a known input."""
    if isinstance(layer, keras.Sequential):
        return private.of(layer, "_functional") is not None
    return isinstance(layer, Functional)


def as_functional(model):
    """`model` as a functional model: a Sequential model has one with the same layers."""
    return private.of(model, "_functional") if isinstance(model, keras.Sequential) else model


def graph_calls(model) -> dict:
    """For each layer or operation of a functional model, by name, its calls in the order in which the
    graph runs them, as pairs of (number of the call in order of creation, its output tensors)."""
    nodes, found = _nodes(model), {}
    uses = _uses(nodes)
    for node in nodes:
        found.setdefault(node.operation.name, []).append((uses[node], list(node.outputs)))
    return found


@private.overrides("keras.src.backend.tensorflow.layer.TFLayer._default_save_signature")
class ExportedAsGraph:
    """A model that is exported as `graph`, a functional or Sequential model that it owns."""

    graph: Any
    build: Any

    def build_as_graph(self) -> None:
        """Build with the input shapes of the graph, which converters of TensorFlow ask for."""
        if not is_graph(self.graph):
            self.build(None)
            return
        inputs = self.graph.input if is_functional(self.graph) else self.graph.inputs[0]
        self.build(tree.map_structure(lambda x: tuple(x.shape), inputs))

    def export(self, filepath: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        # Keras (keras/src/export/onnx.py) rejects a model that was never called, although a graph knows its
        # inputs anyway.
        private.put(self.graph, "_called", True)
        return self.graph.export(filepath, *args, **kwargs)

    @property
    def _default_save_signature(self):
        # Keras (keras/src/backend/tensorflow/layer.py) assumes float inputs, except for a graph.
        return private.of(self.graph, "_default_save_signature")


# Keras itself sets these on each instance: `Layer.__new__` wraps two of them, `compile` stores its `loss`.
OF_INSTANCES = {"build", "quantize", "loss"}


def overridden(model, cls, names) -> list:
    """Which methods and properties `names` of Keras' models are replaced in `cls`, the class of `model`, or
    in `model` itself."""
    base = next(kind for kind in (keras.Sequential, Functional, keras.Model) if issubclass(cls, kind))
    kept = {name: inspect.getattr_static(base, name, None) for name in names}
    own = [name for name in names if inspect.getattr_static(cls, name, None) is not kept[name]]
    methods = {name for name in names if inspect.isfunction(kept[name])} - OF_INSTANCES
    return sorted({*own, *(methods & vars(model).keys())})


def operations_before(operation) -> list:
    """The operations whose tensors `operation` was called on, in each of its calls."""
    nodes = private.of(operation, "_inbound_nodes")
    return [origin(x) for node in nodes for x in node.input_tensors]


def output_names(model) -> list:
    """The names of the outputs of a graph of layers, which are the keys of its losses; [] for other
    models."""
    return list(as_functional(model).output_names) if is_graph(model) else []


def input_names(model) -> list:
    """The names of the inputs of a graph of layers, in its own order."""
    return [origin(x).name for x in as_functional(model).inputs]


def inputs_by_name(layer) -> dict:
    """The symbolic inputs of a graph of layers by name, and by their keys in the dict that it is called on.
    What names one input and is the key of another is left out."""
    if not is_graph(layer):
        return {}
    found = {origin(x).name: x for x in as_functional(layer).inputs}
    for key, x in _keyed_inputs(layer).items():
        if not tree.is_nested(x) and found.setdefault(key, x) is not x:
            del found[key]
    return found


def given_inputs(layer, given) -> dict:
    """The tensors that a graph of layers is called on, by the names in `inputs_by_name`."""
    keys, by_input = _keyed_inputs(layer), {}
    pairs = [(as_functional(layer).inputs, given)]
    if isinstance(given, dict):
        pairs = [(keys[key], x) for key, x in given.items() if key in keys]
    for symbolic, x in pairs:
        flat = zip(tree.flatten(symbolic), tree.flatten(x), strict=False)
        by_input |= {id(leaf): tensor for leaf, tensor in flat}
    return {name: by_input[id(x)] for name, x in inputs_by_name(layer).items() if id(x) in by_input}


def _keyed_inputs(layer) -> dict:
    """The symbolic inputs of a graph by the keys of a dict that it can be called on."""
    graph = as_functional(layer)
    return graph.input if isinstance(graph.input, dict) else {origin(x).name: x for x in graph.inputs}


def operations(layer) -> list:
    """The operations of a graph of layers; [] for other layers."""
    return as_functional(layer).operations if is_graph(layer) else []


def symbolic_inputs(model):
    """The inputs of `model` as symbolic tensors, or None if Keras does not know them."""
    if is_graph(model):
        return as_functional(model).input
    return _symbolic((model.get_build_config() or {}).get("input_shape"), model.input_dtype)


def _symbolic(shape, dtype):
    """Symbolic tensors for a shape, or for a dict or list of shapes; None for anything else."""
    if isinstance(shape, dict):
        found = {name: _symbolic(inner, dtype) for name, inner in shape.items()}
        return found if found and all(x is not None for x in found.values()) else None
    if not isinstance(shape, (list, tuple)) or not shape:
        return None
    if all(n is None or isinstance(n, int) for n in shape):
        return keras.KerasTensor((None, *shape[1:]), dtype=dtype)
    found = [_symbolic(inner, dtype) for inner in shape]
    return found if all(x is not None for x in found) else None
