"""What Keras keeps private of graphs of layers."""

from typing import Any

import keras
from keras import tree
from keras.src.models.functional import Functional


def rewire(model, call):
    """A functional model on the same inputs, in which `call(operation, *args, **kwargs)` replaces each call
    of the graph."""
    outputs = model._run_through_graph(model.input, operation_fn=lambda operation: operation, call_fn=call)
    return keras.Model(model.input, outputs, name=model.name)


def is_functional(model) -> bool:
    """Whether `model` is a graph of layers, which can be wired anew around the same layers."""
    return isinstance(model, Functional)


def graph_calls(model) -> dict:
    """For each layer or operation of a functional model, by name, its calls in the order in which the
    graph runs them, as pairs of (how many calls of it were made before, the tensors it gave)."""
    calls = {}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            calls.setdefault(node.operation.name, []).append(node)
    order = {
        name: sorted(nodes, key=nodes[0].operation._inbound_nodes.index) for name, nodes in calls.items()
    }
    return {name: [(order[name].index(n), list(n.outputs)) for n in nodes] for name, nodes in calls.items()}


class ExportedAsGraph:
    """A model that is exported as `graph`, a functional or Sequential model that it owns."""

    graph: Any
    build: Any

    def build_as_graph(self):
        """Build with the input shapes of the graph, which converters of TensorFlow ask for."""
        inputs = self.graph.input if is_functional(self.graph) else self.graph.inputs[0]
        self.build(tree.map_structure(lambda x: tuple(x.shape), inputs))

    def export(self, filepath, *args, **kwargs):
        # Keras (keras/src/export/onnx.py) refuses a model that was never called, though a graph knows its
        # inputs without that.
        self.graph._called = True
        return self.graph.export(filepath, *args, **kwargs)

    @property
    def _default_save_signature(self):
        # Keras (keras/src/backend/tensorflow/layer.py) takes each input for a float, except of a graph.
        return self.graph._default_save_signature


def overridden(model, names) -> list:
    """Which of `names` the class of `model` defines itself, instead of taking them from Keras."""
    base = keras.Sequential if isinstance(model, keras.Sequential) else Functional
    return [name for name in names if getattr(type(model), name) is not getattr(base, name)]
