"""Which layers a name, a shell pattern or a class means."""

from __future__ import annotations

import fnmatch

import keras

from keras_penalties._keras import graphs
from keras_penalties._tensors.names import TensorName
from keras_penalties._tensors.tree import Place, label


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
    return _spelled(place, name.layers, by_attribute) is not None


def _spelled(place: Place, written: tuple[str, ...], by_attribute: bool) -> tuple[str, ...] | None:
    """What a name, `written` as the parts of a path, calls the layer at `place` and those around it; None if
    it means another layer."""
    own, around = place.path[-1], place.holders
    for count in range(1, len(written) + 1):  # a key of a dict may contain "/"
        text, rest = "/".join(written[-count:]), written[:-count]
        names = [*place.attributes, own] if by_attribute and own != text else [own]
        called = next((n for n in names if n == text or (count == 1 and fnmatch.fnmatchcase(n, text))), None)
        if called is None or (rest and not around):
            continue
        above = _spelled(around[0], rest, by_attribute) if rest else ()
        if above is not None:
            return (*above, own if called == own else label(called))
    return None


def meant(place: Place, name: TensorName | None) -> tuple[str, ...]:
    """What the user calls the layer at `place`, after the layers around it that `name` contains."""
    written = name.layers if name else ()
    return _spelled(place, written, False) or _spelled(place, written, True) or (place.operation.name,)
