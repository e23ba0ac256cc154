"""Parts of random models, penalized or stripped, have exactly the penalties before their outputs."""

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import layers

import keras_penalties as kp
from tests.support.helpers import to_numpy

X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
KINDS = ("dense", "dense", "again", "add", "operation", "nested", "sequential", "sharing")


@dataclass
class Graph:
    """A random model whose tensors all have the same shape.

    Attributes:
        tensors: the input, then the output of each step.
        inputs: for each tensor, the numbers of those that it is computed from.
        before: for each tensor, its own number, and those of all tensors that it depends on.
        steps: for each tensor, the layer that computes it; None for an operation.
        inside: by the name of a model in the graph, the two layers in it.
        model: the model. Its output depends on all tensors.
    """

    tensors: list = field(default_factory=lambda: [keras.Input((4,), name="x")])
    inputs: list = field(default_factory=lambda: [()])
    before: list = field(default_factory=lambda: [{0}])
    steps: list = field(default_factory=lambda: [None])
    inside: dict = field(default_factory=dict)
    model: Any = None

    def add(self, call, *inputs):
        found = [self.tensors[i] for i in inputs]
        self.before.append({len(self.steps)}.union(*(self.before[i] for i in inputs)))
        self.tensors.append(call(found if len(found) > 1 else found[0]))
        self.inputs.append(inputs)
        self.steps.append(call if isinstance(call, layers.Layer) else None)

    def add_model(self, name, is_sequential, last, start):
        parts = [layers.Dense(4, "tanh", name="left"), last or layers.Dense(4, name="right")]
        self.inside[name], x = parts, keras.Input((4,))
        if is_sequential:
            self.add(keras.Sequential([x, *parts], name=name), start)
        else:
            self.add(keras.Model(x, parts[1](parts[0](x)), name=name), start)

    @property
    def first(self) -> dict:
        """The number of the first tensor of each layer."""
        return {layer: self.steps.index(layer) for layer in self.steps if layer is not None}

    @property
    def own(self) -> list:
        """The Dense layers that are only in this graph, or only in one model inside it, with their paths."""
        dense = [(layer.name, layer) for layer in self.first if isinstance(layer, layers.Dense)]
        dense += [(f"{name}/{layer.name}", layer) for name, parts in self.inside.items() for layer in parts]
        return [(path, layer) for path, layer in dense if sum(layer is v for _, v in dense) == 1]


def build(draw):
    """A graph of what `draw` draws."""
    graph = Graph()
    for number in range(draw(st.integers(2, 7))):
        start, other = (draw(st.integers(0, number)) for _ in range(2))
        kind, name = draw(st.sampled_from(KINDS)), f"step_{number}"
        again = [layer for layer in graph.first if not isinstance(layer, layers.Add)]
        dense = [layer for layer in again if isinstance(layer, layers.Dense)]
        if kind == "again" and again:
            graph.add(draw(st.sampled_from(again)), start)
        elif kind == "add" and start != other:
            graph.add(layers.Add(name=name), start, other)
        elif kind == "operation":
            graph.add(lambda x: x * 2.0, start)
        elif kind in ("nested", "sequential"):
            graph.add_model(name, kind == "sequential", None, start)
        elif kind == "sharing" and dense:
            graph.add_model(name, draw(st.booleans()), draw(st.sampled_from(dense)), start)
        else:
            graph.add(layers.Dense(4, "tanh", name=name), start)
    middle = draw(st.integers(1, len(graph.tensors) - 1))
    graph.add(layers.Add(name="joined"), *range(len(graph.tensors)))
    graph.model = keras.Model(graph.tensors[0], graph.tensors[-1])
    if draw(st.booleans()):  # a second graph with the same tensors
        graph.model.part = keras.Model(graph.tensors[0], graph.tensors[middle])
    return graph


def run(inputs, tensors):
    """The values of `tensors`, and the sum of the losses of their model."""
    part = keras.Model(inputs, tensors)
    found = keras.tree.flatten(part([X], training=False))
    return [to_numpy(value) for value in found], sum(float(loss) for loss in part.losses)


def l2(x):
    return 0.1 * np.mean(np.sum(np.square(x, dtype="float64"), axis=-1))


def added(graph, targets, values):
    """What the penalties of `targets` add in each step."""
    found = [0.0] * len(graph.steps)
    for i, layer in enumerate(graph.steps):
        if layer in targets:
            found[i] += l2(values[i])
        elif isinstance(layer, keras.Model):
            x = values[graph.inputs[i][0]]
            for inner in graph.inside[layer.name]:
                x = to_numpy(inner(x))
                found[i] += l2(x) * (inner in targets)
    return found


def check(model, tensors, values, expected):
    """Check the outputs and the losses of the part of `model` that ends at `tensors`."""
    found, loss = run(model.inputs, tensors)
    for mine, value in zip(found, values, strict=True):
        np.testing.assert_array_equal(mine, value)
    assert loss == pytest.approx(expected, rel=1e-5, abs=1e-6)


def check_parts(graph, model, values, targets):
    """Cut `model`, which is that of `graph` with penalties on `targets`, after each layer and after all."""
    expected = added(graph, targets, values)
    shared = {id(v) for parts in graph.inside.values() for v in parts}
    ends = {}
    for layer, first in graph.first.items():
        # `output` of a functional model is inside it, and of a layer in two graphs, in one of them.
        if isinstance(layer, keras.Sequential) or not (isinstance(layer, keras.Model) or id(layer) in shared):
            ends[first] = model.get_layer(layer.name).output
            several = graph.steps.count(layer) > 1  # then its penalties are layers of the graph, after it
            before = graph.before[first] - ({first} if several and layer in targets else set())
            check(model, [ends[first]], [values[first]], sum(expected[i] for i in before))
    check(model, list(ends.values()), [values[i] for i in ends], sum(expected))
    for name, parts in graph.inside.items():
        inner, tensors, found, total, x = model.get_layer(name), [], [], 0.0, X
        for layer in [part for part in parts if part not in graph.first]:
            x = to_numpy(layer(x))
            total += l2(x) * (layer in targets)
            tensors.append(inner.get_layer(layer.name).output)
            found.append(x)
            check(inner, tensors[-1:], found[-1:], total)
            check(inner, tensors, found, total)


@settings(max_examples=settings.default.max_examples * 2)
@given(data=st.data())
def test_a_part_has_exactly_the_penalties_before_it(data):
    graph = build(data.draw)
    model, own = graph.model, graph.own
    assume(own)
    chosen = data.draw(st.lists(st.sampled_from(own), min_size=1, max_size=3, unique_by=id))
    description = model.to_json()
    calls = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    values = [X, *run(graph.tensors[:1], graph.tensors[1:])[0]]
    penalized, steps = model, data.draw(st.booleans())
    for paths in [[path] for path, _ in chosen] if steps else [[path for path, _ in chosen]]:
        penalized = kp.penalize(penalized, dict.fromkeys(paths, kp.regularizers.L2(0.1)))
    stripped = kp.strip(penalized)
    assert [len(layer._inbound_nodes) for layer in model._flatten_layers()] == calls
    assert model.to_json() == stripped.to_json() == description
    check_parts(graph, penalized, values, [layer for _, layer in chosen])
    check_parts(graph, stripped, values, [])
    for other in (penalized, stripped):
        assert [id(v) for v in other.variables if "penalty" not in v.path] == [id(v) for v in model.variables]
