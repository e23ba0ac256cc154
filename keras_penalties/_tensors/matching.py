"""Which layers a name, a shell pattern or a class means."""

from __future__ import annotations

import fnmatch

import keras

from keras_penalties._keras import graphs
from keras_penalties._tensors.names import TensorName
from keras_penalties._tensors.tree import Place


def may_be_input(place: Place, name: TensorName | None) -> bool:
    """Whether `name` may mean an input of a graph: only a full name can."""
    return (name is not None and not name.is_pattern) or not isinstance(
        place.operation, keras.layers.InputLayer
    )


def matches(place: Place, key, name: TensorName | None, by_attribute: bool = False) -> bool:
    """Whether `place` matches: its layer is an instance of the class `key`, or its path ends with `name`, in
    which the attributes that contain the layers may stand for their names."""
    layer = place.operation
    plain = place.is_layer and not graphs.is_graph(layer)
    if name is None:
        return isinstance(layer, key) and (plain or issubclass(key, keras.Model))
    if set(name.layers[-1]) & set("*?[") and not plain:
        return False  # a pattern matches layers, not the model around them, nor the operations of a mask
    if not by_attribute:
        tail = [[layer] for layer in place.path[-len(name.layers) :]]
    else:
        chain = [*reversed(place.holders), place][-len(name.layers) :]
        tail = [[step.path[-1], *step.attributes] for step in chain]
    return len(tail) == len(name.layers) and all(
        any(fnmatch.fnmatchcase(called, pattern) for called in names)
        for names, pattern in zip(tail, name.layers, strict=True)
    )


def meant(place: Place, name: TensorName | None) -> str:
    """What the user calls the layer at `place`: its name, or the attribute that contains it."""
    called = place.operation.name
    if name is None or fnmatch.fnmatchcase(called, name.layers[-1]):
        return called
    attributes = [a for a in place.attributes if fnmatch.fnmatchcase(a, name.layers[-1])]
    return attributes[0].replace(".", "_") if attributes else called
