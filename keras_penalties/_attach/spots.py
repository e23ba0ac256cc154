"""Which tensors of a model the patterns of `penalize` mean."""

import difflib
import fnmatch
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import keras

from keras_penalties._keras import graphs
from keras_penalties._keras import layers as keras_layers
from keras_penalties._training.terms import as_penalties
from keras_penalties.layers import ActivityPenalty
from keras_penalties.models import _graph

WHERE = ("output", "input", "preactivation")
ACTIVATED = tuple(
    getattr(keras.layers, name)
    for name in (
        *("Dense", "EinsumDense", "Conv1D", "Conv2D", "Conv3D"),
        *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
        *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
    )
)
# What these give is what the layer gives that they wrap.
TRANSPARENT = (keras.layers.TimeDistributed, keras.layers.SpectralNormalization)


@dataclass
class Spot:
    """A tensor that is to be punished.

    Attributes:
        path: the names of the nested models on the way, and of the layer.
        use: which call of the layer, from 0.
        index: which of its tensors; None for all that the layer is called on.
        layer: the layer that was meant, which may be inside the one that `path` names.
        pattern: what has named it.
        penalty: what the user gave.
        name: the name of the `ActivityPenalty`.
    """

    path: tuple
    use: int
    index: int | None
    layer: keras.layers.Layer
    pattern: object
    penalty: object
    name: str = ""


@dataclass
class _Place:
    """A layer or operation in a graph, and the tensors that each of its calls gave."""

    path: tuple
    layer: keras.layers.Layer
    calls: list


def find(model, penalties, where) -> list:
    """The spots that `penalties`, a dict of pattern to penalty, means in `model`, each with its name."""
    _check(penalties, where)
    places = list(_places(model))
    paths = {"/".join(place.path) for place in places}
    spots = []
    for pattern, penalty in penalties.items():
        found = [spot for place in places for spot in _at(place, pattern, penalty, where, paths)]
        if not found:
            raise ValueError(_nothing(model, pattern, places))
        for spot in found:
            _refuse_twice(spot, spots)
        spots += found
    _name(spots, where, model)
    return spots


def _check(penalties, where):
    if where not in WHERE:
        close = difflib.get_close_matches(str(where), WHERE, n=1)
        raise ValueError(
            f"`where` of penalize must be one of {', '.join(map(repr, WHERE))}. Received: where={where!r}."
            f"{f' Did you mean {close[0]!r}?' if close else ''}"
        )
    if not isinstance(penalties, Mapping):
        raise TypeError(
            "`penalties` of penalize must be a dict of pattern to penalty. "
            f"Received: {penalties!r} (of type {type(penalties).__name__}). "
            "Write {'dense_4': kp.regularizers.L2(0.01)}."
        )
    if not penalties:
        raise ValueError("`penalties` of penalize must name one layer at least. Received: {}.")
    for pattern, penalty in penalties.items():
        if not isinstance(pattern, (str, type)):
            raise TypeError(
                "A key of `penalties` of penalize must be a layer's name, a path, a shell pattern or a "
                f"class of layers. Received: {pattern!r} (of type {type(pattern).__name__})."
                f"{f' Write {pattern.name!r}.' if isinstance(pattern, keras.layers.Layer) else ''}"
            )
        as_penalties(penalty, f"penalties[{_said(pattern)}]", "penalize")


def _places(model, above=()):
    """All layers and operations of `model`, nested ones behind their model. Inputs and penalties are none."""
    graph = _graph.as_functional(model)
    calls = graphs.graph_calls(graph)
    for layer in graph.operations:
        path = (*above, layer.name)
        if not isinstance(layer, (keras.layers.InputLayer, ActivityPenalty)):
            yield _Place(path, layer, calls[layer.name])
        if _graph._is_graph(layer):
            yield from _places(layer, path)


def _at(place, pattern, penalty, where, paths):
    """The spots at `place`, or inside it, that `pattern` means."""
    base, use, index = _parts(pattern, paths)
    layer = None
    if _means(base, place.path, place.layer, paths):
        layer = place.layer
    elif not _graph._is_graph(place.layer) and isinstance(place.layer, keras.layers.Layer):
        for inner in keras_layers.all_sublayers(place.layer):
            if _means(base, (*place.path, inner.name), inner, paths):
                _refuse_inside(place.layer, inner, where)
                layer = inner
    if layer is None:
        return
    if where == "preactivation":
        _refuse_without_activation(layer, pattern)
    if where == "output":
        index = index or 0
    uses = [number for number, _ in place.calls]
    count = len(place.calls[0][1])
    if (use is not None and use not in uses) or (where == "output" and (index or 0) >= count):
        raise ValueError(
            f"`penalties` of penalize has the key {_said(pattern)}, and '{layer.name}' is used {len(uses)} "
            f"time(s) and gives {count} tensor(s) each time. Count both from 0: '{base}@0:0'."
        )
    for number in sorted(uses) if use is None else [use]:
        yield Spot(place.path, number, index, layer, pattern, penalty)


def _parts(pattern, paths):
    """`"lstm@1:0"` as the name, the use and the index; the last two may be None."""
    if isinstance(pattern, type) or pattern in paths:
        return pattern, None, None
    found = re.search(r"(?:@(\d+))?(?::(\d+))?$", pattern)
    use, index = found.groups() if found else (None, None)
    base = pattern[: found.start()] if found else pattern
    return base, None if use is None else int(use), None if index is None else int(index)


def _means(pattern, path, layer, paths):
    """Whether `pattern` means the layer at `path`: a whole path this one, a part of one all that end so."""
    if isinstance(pattern, type):
        return isinstance(layer, pattern) and (
            issubclass(pattern, keras.Model) or not _graph._is_graph(layer)
        )
    if pattern in paths:
        return pattern == "/".join(path)
    parts = pattern.split("/")
    plain = isinstance(layer, keras.layers.Layer) and not _graph._is_graph(layer)
    if set(parts[-1]) & set("*?[") and not plain:
        return False  # layers are meant, not the model around them, nor the operations of a mask
    tail = path[-len(parts) :]
    return len(tail) == len(parts) and all(
        fnmatch.fnmatchcase(name, part) for name, part in zip(tail, parts, strict=True)
    )


def _refuse_inside(owner, layer, where):
    """Refuse a layer that `owner` hides, unless a penalty outside of `owner` sees the same tensor."""
    inner = owner
    while isinstance(inner, TRANSPARENT):
        inner = inner.layer
    if inner is layer and where != "preactivation":
        return
    loops = isinstance(inner, keras.layers.RNN)
    if loops and inner.cell is layer and where == "output" and inner.return_sequences:
        return
    if inner is layer:
        why = f"takes no layer apart. Give '{layer.name}' no activation, and '{owner.name}' one behind it"
    elif loops:
        why = (
            f"runs it in a loop over time. Name '{owner.name}' itself; its output is that of the cell at "
            "each step if it has return_sequences=True, and at the last step if not"
        )
    elif isinstance(owner, keras.layers.Bidirectional):
        why = (
            f"mixes both directions. Name '{owner.name}' itself; with merge_mode=None '{owner.name}:0' is "
            f"the forward direction and '{owner.name}:1' the backward one"
        )
    elif isinstance(owner, TRANSPARENT):
        why = f"drops the losses of what it wraps. Name '{owner.name}' itself"
    else:
        why = f"is no graph of layers. Name '{owner.name}' itself, or call an `ActivityPenalty` in its `call`"
    raise ValueError(
        f"`penalties` of penalize names '{layer.name}' ({type(layer).__name__}), which is inside "
        f"'{owner.name}': {type(owner).__name__} {why}."
    )


def _refuse_without_activation(layer, pattern):
    known = next((cls for cls in ACTIVATED if isinstance(layer, cls)), None)
    if known is None or type(layer).call is not known.call:
        raise ValueError(
            f"`where='preactivation'` of penalize is for Dense layers and convolutions of Keras, and "
            f"{_said(pattern)} matches '{layer.name}' ({type(layer).__name__}), which has no activation to "
            "be taken apart. Narrow the pattern, or use where='output' or where='input'."
        )


def _refuse_twice(spot, spots):
    for other in spots:
        same = (spot.path, spot.use) == (other.path, other.use)
        if same and (None in (spot.index, other.index) or spot.index == other.index):
            raise ValueError(
                f"`penalties` of penalize matches '{'/'.join(spot.path)}' twice, by {_said(other.pattern)} "
                f"and by {_said(spot.pattern)}. Narrow one of them, or give one key a list of penalties."
            )


def _nothing(model, pattern, places):
    text = f"`penalties` of penalize has the key {_said(pattern)}, which matches no layer of '{model.name}'."
    places = [place for place in places if isinstance(place.layer, keras.layers.Layer)]
    if isinstance(pattern, type):
        classes = Counter(type(place.layer).__name__ for place in places)
        return f"{text} It has {', '.join(f'{count} {name}' for name, count in classes.most_common(12))}."
    names = ["/".join(place.path) for place in places]
    for place in places:
        if not _graph._is_graph(place.layer):
            names += [
                "/".join((*place.path, inner.name)) for inner in keras_layers.all_sublayers(place.layer)
            ]
    inputs = [layer.name for layer in _graph.as_functional(model).layers]
    if pattern in inputs and pattern not in names:
        return f"{text} It is an input or a penalty: name the layer whose activity you mean."
    bare = re.sub(r"[*?\[\]]|@\d+|:\d+", "", pattern)
    near = difflib.get_close_matches(bare, names, n=3, cutoff=0.5)
    ends = {name.rsplit("/", 1)[-1]: name for name in names}
    near += [ends[end] for end in difflib.get_close_matches(bare.rsplit("/", 1)[-1], ends, n=3, cutoff=0.5)]
    near = list(dict.fromkeys(near))[:3]
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"It has {_graph._some(names)}."
    return f"{text} {hint}"


def _name(spots, where, model):
    """Give each spot a name that the logs can show: short where it is the only one of that name."""
    kind = "" if where == "output" else f"_{where}"
    taken = {layer.name for layer in [model, *keras_layers.all_sublayers(model)]}
    paths = {}
    for spot in spots:
        paths.setdefault(spot.layer.name, set()).add(spot.path)
    for spot in spots:
        short = len(paths[spot.layer.name]) == 1
        name = "_".join([spot.layer.name] if short else [*spot.path[:-1], spot.layer.name])
        name += (
            f"{kind}_{spot.index}" if spot.index and kind else f"_output_{spot.index}" if spot.index else kind
        )
        name = f"layer_{name}" if name.startswith("val_") else name  # or it reads as a key of the validation
        spot.name = unique(f"{name}_penalty", taken)


def unique(name, taken):
    """`name`, or `name_1` and so on where it is `taken`; it is taken from then on."""
    number, start = 0, name
    while name in taken:
        number += 1
        name = f"{start}_{number}"
    taken.add(name)
    return name


def _said(pattern):
    return pattern.__name__ if isinstance(pattern, type) else repr(pattern)
