"""Receivers on the tensors of a model: layers that are called on a tensor whenever the model computes it.

The layer that was named is replaced by a copy, which shares its weights and calls the receiver itself. What
holds the layer is copied too, up to the model; everything else is shared. So the original does not change,
the new model has its class and methods, its layers are in the same order, and a receiver is called whichever
code runs the layer: the model's `call`, its `train_step`, another thread. Only where a graph of layers uses
the layer several times, and for an operation that is not a layer, the receiver becomes a layer of the graph.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from keras_penalties._keras import graphs, hooks
from keras_penalties._keras import layers as keras_layers
from keras_penalties._tensors import masks
from keras_penalties._tensors.names import Part
from keras_penalties._tensors.rebuild import Rebuild
from keras_penalties._tensors.search import Tensor, gives_scores


@dataclass(frozen=True)
class Receiver:
    """A layer that is called on a tensor, and gives what it is given.

    Attributes:
        part: which tensor of the layer that computes it.
        layer: what is called.
        mask_from: the name of the input that is the tensor's mask, or None.
    """

    part: Part
    layer: keras.layers.Layer
    mask_from: str | None = None

    def __call__(self, x, owner: str):
        """Call it on `x`, which the layer called `owner` has computed."""
        if self.mask_from is None:
            return self.layer(x)
        return self.layer(x, mask=masks.current(self.mask_from, owner))

    def in_graph(self, x, graph):
        """Call it on `x`, a symbolic tensor of the functional model `graph`."""
        if self.mask_from is None:
            return self.layer(x)
        return self.layer(x, mask=graphs.input_called(graph, self.mask_from))


@dataclass(frozen=True)
class Tap:
    """A receiver on a tensor."""

    tensor: Tensor
    receiver: Receiver

    @property
    def source(self):
        """The layer or model with the input that is the mask: the innermost around the tensor. None
        without."""
        name, place = self.receiver.mask_from, self.tensor.place
        if name is None:
            return None
        for holder in place.around:
            if name in masks.input_names(holder.operation):
                return holder.operation
        raise ValueError(
            f"`mask_from` names {name!r}, and no model or layer around '{place.name}' has an input of that "
            "name. "
            f"'{place.around[-1].operation.name}' has "
            f"{sorted(masks.input_names(place.around[-1].operation))}."
        )

    @property
    def symbolic_mask(self):
        """The input that is the mask, where the model or layer that has it is a graph. None elsewhere."""
        return graphs.input_called(self.source, self.receiver.mask_from)

    @property
    def is_in_graph(self) -> bool:
        """Whether the receiver becomes a layer of a graph: for what is not a layer, and for one of several
        uses."""
        place, part = self.tensor.place, self.tensor.part
        if not place.is_called_layer:
            return True
        if part.kind == "preactivation" or len(place.calls) < 2:
            return False
        if self.receiver.mask_from is not None and self.source is not place.holder.operation:
            return False
        return part.kind == "input" or (self.tensor.use, part.index or 0) in place.used


class Tapped(hooks.HoldsHelpers):
    """A layer that calls receivers on its own tensors. It is mixed into the class of a copied layer.

    Attributes:
        receivers: what it calls.
    """

    receivers: Receivers
    activity_penalties: list
    activation: Any
    name: str

    def __call__(self, *args, **kwargs):
        if any(isinstance(x, keras.KerasTensor) for x in tree.flatten((args, kwargs))):
            return super().__call__(*args, **kwargs)  # type: ignore[misc]
        parts = [receiver.part for receiver in self.receivers.all]
        hides_scores = Part("output", 1) in parts and gives_scores(self)
        hides_scores = hides_scores and not kwargs.get("return_attention_scores")
        if hides_scores:
            kwargs["return_attention_scores"] = True
        activations = [self.activation] if any(part.kind == "preactivation" for part in parts) else []
        with recorded(activations) as preactivations:
            outputs = super().__call__(*args, **kwargs)  # type: ignore[misc]
        inputs = args[0] if args else next(iter(kwargs.values()))
        if activations and activations[0].activation is keras.activations.linear:
            preactivations = [outputs]
        tensors = {"input": inputs, "output": outputs, "preactivation": preactivations}
        for receiver in self.receivers.all:
            part = receiver.part
            for tensor in chosen(part, tree.flatten(tensors[part.kind])):
                receiver(tensor, self.name)
        if hides_scores:
            outputs = [tensor for i, tensor in enumerate(outputs) if i != 1]
            return outputs[0] if len(outputs) == 1 else tuple(outputs)
        return outputs

    def quantize(self, *args, **kwargs):
        # Keras (keras/src/layers/core/dense.py and others) quantizes its own classes, and no subclasses of
        # them.
        if unmixed(type(self)).__module__.startswith("keras."):
            kwargs["type_check"] = False
        return super().quantize(*args, **kwargs)  # type: ignore[misc]

    @property
    def helpers(self):
        return getattr(self, "activity_penalties", ())


def chosen(part: Part, tensors: list) -> list:
    """What a receiver is called on: one tensor, all inputs at once, or each pre-activation."""
    if part.kind == "preactivation":
        return tensors
    if part.kind == "input" and part.index is None:
        return [tensors if len(tensors) > 1 else tensors[0]]
    return [tensors[part.index or 0]]


class RecordedActivation:
    """An activation that keeps what it is called on, where somebody asks for it."""

    def __init__(self, activation):
        self.activation, self.local = activation, threading.local()

    def __call__(self, x):
        for found in getattr(self.local, "stack", [])[-1:]:
            found.append(x)
        return self.activation(x)


@contextmanager
def recorded(activations: list):
    """The inputs of each of `activations`, which are recorders, while this is open on this thread."""
    found: list = []
    for recorder in activations:
        recorder.local.__dict__.setdefault("stack", []).append(found)
    try:
        yield found
    finally:
        for recorder in activations:
            recorder.local.stack.pop()


class Receivers:
    """What a tapped layer calls, kept out of sight of Keras' attribute tracking."""

    def __init__(self, receivers):
        self.all: list[Receiver] = list(receivers)


@functools.cache
def tapped_class(cls):
    """`cls` with `Tapped` mixed in; it looks like `cls`."""
    return cls if issubclass(cls, Tapped) else mixed(Tapped, cls)


@functools.cache
def source_class(cls):
    """`cls` with `MaskSource` mixed in."""
    return cls if issubclass(cls, masks.MaskSource) else mixed(masks.MaskSource, cls)


def mixed(mixin, cls):
    """A subclass of `cls` with `mixin` in front. It looks like `cls`, and is saved as that unless said
    otherwise."""
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls.__name__, (mixin, cls), {**names, "plain_class": unmixed(cls)})


def is_mixed(cls) -> bool:
    return "plain_class" in vars(cls)


def unmixed(cls):
    """The class that a user knows, of which `cls` was made here."""
    return vars(cls).get("plain_class", cls)


class Tapping(Rebuild):
    """A model in which some tensors have receivers.

    Args:
        taps: the receivers.
        dress: called on the class of each copy at which a saved file has to begin: the outermost one that is
            not a plain graph of layers. It gives the class to use.
    """

    def __init__(self, taps: list[Tap], dress: Callable = lambda cls: cls):
        super().__init__()
        self.taps, self.dress = taps, dress
        self.before, self.after, self.inside, self.sources, self.touched = {}, {}, {}, {}, set()
        for tap in taps:
            place, receiver = tap.tensor.place, tap.receiver
            if tap.is_in_graph:
                where = self.before if receiver.part.kind == "input" else self.after
                key = (id(place.holder.operation), place.operation.name, tap.tensor.use)
                where.setdefault(key, []).append(receiver)
                self.touched.add(id(place.holder.operation))
            else:
                self.inside.setdefault(id(place.operation), []).append(receiver)
                self.touched.add(id(place.operation))
                if receiver.mask_from is not None:
                    self.sources.setdefault(id(tap.source), set()).add(receiver.mask_from)

    def is_changed(self, layer):
        return id(layer) in self.touched

    def is_plain(self, layer):
        return super().is_plain(layer) and id(layer) not in {*self.sources, *self.inside}

    def class_of(self, layer, outermost):
        cls = tapped_class(type(layer)) if id(layer) in self.inside else type(layer)
        cls = source_class(cls) if id(layer) in self.sources else cls
        return self.dress(cls) if outermost and not self.is_plain(layer) else cls

    def around(self, holder, operation, use):
        key = (id(holder), operation.name, use)
        return self.before.get(key, []), self.after.get(key, [])

    def finish(self, new, layer):
        if id(layer) in self.inside:
            earlier = layer.receivers.all if isinstance(layer, Tapped) else []
            tap(new, [*earlier, *self.inside[id(layer)]])
        if id(layer) in self.sources:
            with keras_layers.unlocked(new):
                new.mask_names = frozenset(getattr(layer, "mask_names", ())) | self.sources[id(layer)]


def tap(layer: Tapped, receivers: list[Receiver]):
    """Give `layer` what it calls. It holds those that are layers, so that they are saved with it."""
    with keras_layers.unlocked(layer):
        layer.receivers = Receivers(receivers)
        layer.activity_penalties = [receiver.layer for receiver in receivers]
        keras_layers.list_held(layer, layer.activity_penalties)
        before = any(receiver.part.kind == "preactivation" for receiver in receivers)
        if before and not isinstance(layer.activation, RecordedActivation):
            layer.activation = RecordedActivation(layer.activation)
