"""The layers and operations inside a model, at any depth, each with its path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_penalties._keras import copies, graphs
from keras_penalties._keras import layers as keras_layers
from keras_penalties.layers import ActivityPenalty


@dataclass(eq=False)
class Place:
    """A layer or operation in the layer, model or graph that contains it, its holder.

    Attributes:
        path: the names of the layers around it, from the outermost, and its own name.
        operation: the layer or operation.
        holder: the place of its holder; None for the model itself.
        step: the way from the holder to it: an attribute, then indices or keys. Unlike names, which Keras may
            generate, steps survive saving and loading.
        calls: in a graph, its calls in the order in which the graph runs them: pairs of the number of the
            call, in order of creation, and its output tensors. Empty elsewhere.
        used: in a graph, which of these tensors the graph uses: pairs of call and index.
        others: other places of the same layer: in another holder, or in another use of the same holder.
    """

    path: tuple[str, ...]
    operation: Any
    holder: Any = None
    step: tuple = ()
    calls: list = field(default_factory=list)
    used: set = field(default_factory=set)
    others: list[Place] = field(default_factory=list)

    @property
    def is_shared(self) -> bool:
        """Whether several holders contain the layer."""
        return any(other.holder.operation is not self.holder.operation for other in self.others)

    @property
    def name(self) -> str:
        return "/".join(self.path)

    @property
    def attributes(self) -> list[str]:
        """The public attributes of its holder that contain it: `hidden` for `self.hidden`, `blocks.0` for the
        first of a list."""
        if self.holder is None:
            return []
        found = steps_to(self.holder.operation, self.operation)
        return [".".join(map(str, step)) for step in found if not step[0].startswith("_")]

    @property
    def is_named_by_keras(self) -> bool:
        """Whether Keras generated the name of the layer from its class: `dense`, `multi_head_attention_2`."""
        kind = type(self.operation).__name__
        name, kind = (text.replace("_", "").lower() for text in (self.path[-1], kind))
        return name.rstrip("0123456789") == kind.rstrip("0123456789")

    @property
    def is_layer(self) -> bool:
        return isinstance(self.operation, keras.layers.Layer)

    @property
    def is_called_layer(self) -> bool:
        """Whether it is a layer that is called when the model runs, unlike an operation or an input."""
        return self.is_layer and not isinstance(self.operation, keras.layers.InputLayer)

    @property
    def holders(self) -> list[Place]:
        """The places around it, the innermost first, without the model itself."""
        return [place for place in self.around if place.holder is not None]

    @property
    def around(self) -> list[Place]:
        """The places around it, the innermost first, the model itself last; for the model, only the model."""
        above: list[Place] = [self] if self.holder is None else []
        place = self.holder
        while place is not None:
            above.append(place)
            place = place.holder
        return above

    @property
    def steps(self) -> list[tuple]:
        """The way from the model to it."""
        return [place.step for place in [*reversed(self.holders), self] if place.holder is not None]


def places_in(model) -> list[Place]:
    """The place of `model` itself, then all inside it, each after its holder."""
    root = Place((), model)
    places = [root, *_walk(root)]
    of_layers: dict[int, list] = {}
    for place in places[1:]:
        of_layers.setdefault(id(place.operation), []).append(place)
    for same in of_layers.values():
        for place in same if len(same) > 1 else ():
            place.others = [other for other in same if other is not place]
    return places


def _walk(place: Place) -> Iterator[Place]:
    for inner in within(place):
        yield inner
        if inner.is_layer and not isinstance(inner.operation, ActivityPenalty):
            yield from _walk(inner)


def within(place: Place) -> Iterator[Place]:
    """The places directly inside `place`: the operations of its graph, then its other layers."""
    layer, seen = place.operation, set()
    if graphs.is_graph(layer):
        graph = graphs.as_functional(layer)
        calls, used = graphs.graph_calls(graph), graphs.used_tensors(graph)
        for i, operation in enumerate(graph.operations):
            seen.add(id(operation))
            step = ("operations", i)  # names may be generated, the order of a graph is not
            own = calls[operation.name]
            goes_on = {(use, i) for use, tensors in own for i, x in enumerate(tensors) if id(x) in used}
            yield Place((*place.path, operation.name), operation, place, step, own, goes_on)
    for inner in keras_layers.sublayers(layer):
        if id(inner) not in seen:
            seen.add(id(inner))
            yield Place((*place.path, inner.name), inner, place, step_to(layer, inner))


def label(attribute: str) -> str:
    """`attribute` as a part of a log key, which is the name of a layer and of a scope of TensorFlow."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", attribute)


def step_to(holder, layer) -> tuple:
    """The attribute of `holder`, with indices or keys, that contains `layer`; without one that a file can
    hold, as in KerasHub's `MLP`, its index among the layers that Keras tracks."""
    found = [step for step in steps_to(holder, layer) if all(map(is_key, step))]
    return found[0] if found else keras_layers.place_among_tracked(holder, layer)


def is_key(value) -> bool:
    """Whether a file can hold `value`, a name, an index or a key of a dict, and return an equal one."""
    return value is None or isinstance(value, (str, int)) or (isinstance(value, float) and value == value)


def steps_to(holder, layer) -> list[tuple]:
    """The attributes of `holder`, with indices or keys, that contain `layer`, the plainest first."""
    # Public names are the ones that Keras' own files use; the shortest is the plainest.
    found = _steps(holder, layer)
    return sorted(found, key=lambda step: (str(step[0]).startswith("_"), len(step), str(step)))


def _steps(holder, layer):
    for name, value in copies.chosen_attributes(holder).items():
        for keys in _keys(value, layer):
            yield (name, *keys)


def _keys(value, layer):
    if value is layer:
        yield ()
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from ((i, *keys) for keys in _keys(item, layer))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from ((key, *keys) for keys in _keys(item, layer))


def follow(layer, steps) -> Any:
    """The object at the end of `steps` from `layer`, or None if it does not exist yet."""
    for attribute, *keys in steps:
        if attribute == "operations" and graphs.is_graph(layer):
            value = graphs.as_functional(layer).operations
        else:
            value = copies.attributes(layer).get(attribute)
        for key in keys:
            within: dict = value if isinstance(value, dict) else dict(enumerate(value or ()))
            value = within.get(key, within.get(str(key)))
        if value is None:
            return None
        layer = value
    return layer
