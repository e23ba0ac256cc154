"""How a penalized layer or model is saved: as the plain one, with each penalty and its position.

This applies to the outermost layers that are more than a graph of layers. Keras itself saves a plain graph,
with the penalties in it as layers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import keras

from keras_penalties import _serialization
from keras_penalties._attach import saved
from keras_penalties._attach.plain import plain
from keras_penalties._keras import copies, saving
from keras_penalties._keras import layers as keras_layers
from keras_penalties._tensors import Part, Receiver, Tap, Tapping, Tensor
from keras_penalties._tensors.tapped import Tapped, mixed, source_class
from keras_penalties._tensors.tree import places_in


@dataclass(frozen=True, eq=False)
class Request:
    """A penalty inside a layer: the path to the layer that it is on, which tensor of it, and the penalty. Its
    mask may be an input of a model around that layer (`mask_is_outside`)."""

    steps: tuple
    use: int | None
    receiver: Receiver
    mask_is_outside: bool = False

    def to_config(self) -> dict:
        return {
            "steps": [list(step) for step in self.steps],
            "use": self.use,
            "part": [self.receiver.part.kind, self.receiver.part.index],
            "penalty": keras.saving.serialize_keras_object(self.receiver.layer),
            "mask_from": self.receiver.mask_from,
            **({"mask_is_outside": True} if self.mask_is_outside else {}),
        }

    def with_copies(self, made: dict) -> Request:
        """This request, for the copy of its penalty if the copy of the layer has one."""
        layer = made.get(id(self.receiver.layer), self.receiver.layer)
        return replace(self, receiver=replace(self.receiver, layer=layer))

    @classmethod
    def from_config(cls, config) -> Request:
        penalty = keras.saving.deserialize_keras_object(config["penalty"])
        saved.check_penalty(penalty)
        steps = tuple(tuple(step) for step in config["steps"])
        receiver = Receiver(Part(*config["part"]), penalty, config["mask_from"])
        return cls(steps, config["use"], receiver, config.get("mask_is_outside", False))


class Requests:
    """The requests of a penalized layer, hidden from Keras' attribute tracking.

    Attributes:
        here: the requests that are in place.
        waiting: requests for inner layers that do not exist yet, because this layer creates them when it is
            built.
    """

    def __init__(self, here=(), waiting=()):
        self.here, self.waiting = list(here), list(waiting)

    @property
    def receivers(self) -> set[int]:
        """The ids of the penalties that are in place."""
        return {id(request.receiver.layer) for request in self.here}


class Penalized:
    """A layer or model with penalties inside. It is mixed into the class of a copy."""

    requests: Requests
    name: str
    built: bool

    def __call__(self, *args, **kwargs):
        outputs = super().__call__(*args, **kwargs)  # type: ignore[misc]
        # A layer without `build` creates its layers in its first call.
        if "requests" in vars(self) and self.requests.waiting:
            with keras_layers.unlocked(self):
                fulfil(self)
        return outputs

    def get_config(self):
        requests = requests_of(self)
        inner = keras.saving.serialize_keras_object(plain(self, requests.receivers))
        inner = saving.without_compiling(inner)
        found = [request.to_config() for request in [*requests.here, *requests.waiting]]
        return {"layer": inner, "penalties": found}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return PenalizedFile.from_config(config, custom_objects)


@_serialization.register
class PenalizedFile:
    """The class that a saved file names instead of a `Penalized` class, which is created at run time."""

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        saved.check(config)
        layer = _serialization.inner(config["layer"], custom_objects)
        saved.check_layer(layer)
        new = penalized(layer, [Request.from_config(request) for request in config["penalties"]])
        if isinstance(layer, keras.Model) and layer.compiled:  # KerasHub's tasks are compiled when created
            copies.compile_as(new, layer)
        return new


def requests_of(layer: Penalized) -> Requests:
    """The requests of `layer`. Keras' `clone_model` creates a functional model from its class and the clones
    of its layers, which have the penalties; then they are looked for."""
    if "requests" not in vars(layer):
        found: dict = {}
        for place in places_in(layer) if layer.built else []:
            if isinstance(place.operation, Tapped):
                found.setdefault(id(place.operation), place)
        pairs = [(place, receiver) for place in found.values() for receiver in place.operation.receivers.all]
        taps = [
            Tap(Tensor(place, (None,), receiver.part, place.operation.name), receiver)
            for place, receiver in pairs
        ]
        layer.requests = Requests(
            Request(tuple(tap.tensor.place.steps), None, tap.receiver, not tap.has_mask) for tap in taps
        )
    return layer.requests


@functools.cache
def penalized_class(cls):
    """`cls` with `Penalized` mixed in."""
    if issubclass(cls, Penalized):
        saving.save_as(cls, PenalizedFile)
        return cls
    new = mixed(Penalized, cls)
    if keras_layers.has_build(cls):

        @functools.wraps(cls.build)  # Keras reads its arguments
        def build(self, *args, **kwargs):
            cls.build(self, *args, **kwargs)
            if "requests" in vars(self) and self.requests.waiting:
                fulfil(self)

        new.build = build
    saving.save_as(new, PenalizedFile)
    return new


class Attaching(Tapping):
    """A model with receivers, whose files say where each of them is."""

    def __init__(self, taps: list[Tap]):
        super().__init__(taps, dress=penalized_class)

    def finish(self, new, layer):
        super().finish(new, layer)
        if isinstance(new, Penalized):
            earlier = requests_of(layer) if isinstance(layer, Penalized) else Requests()
            here = [request.with_copies(self.made) for request in earlier.here]
            new.requests = Requests(here, earlier.waiting)

    def of_model(self, model):
        """A copy of `model` with its receivers."""
        new = self.of(model)
        self.record()
        return new

    def record(self):
        """Record each receiver as a request on the copies around it, of which the outermost writes the
        file."""
        for tap in self.taps:
            place = tap.tensor.place
            chain = [*reversed(place.around), *([place] if place.holder is not None else [])]
            way = [(step.operation, step.step) for step in chain]
            layers: list[Any] = [self.made.get(id(layer)) for layer, _ in way]
            for i, layer in enumerate(layers):
                if isinstance(layer, Penalized):
                    steps = tuple(step for _, step in way[i + 1 :])
                    within = tap.receiver.mask_from is None or any(op is tap.source for op, _ in way[i:])
                    layer.requests.here.append(Request(steps, tap.tensor.use, tap.receiver, not within))


def penalized(layer, requests: list[Request]):
    """`layer` with the penalties of `requests`; those on layers that it creates in `build` have to wait."""
    found = _found(layer, requests)
    waiting = [request for request in requests if request not in found]
    if not waiting:
        return Attaching(_taps(found)).of_model(layer)
    if layer.built and isinstance(layer, keras.Model):
        raise ValueError(missing(layer, waiting[0]))
    masked = any(request.receiver.mask_from is not None for request in requests)
    cls = source_class(type(layer)) if masked else type(layer)
    shell = copies.copy(layer, {}, penalized_class(cls))
    shell.requests = Requests(waiting=requests)
    return shell


def fulfil(layer: Penalized):
    """Put the waiting penalties in place, now that `layer` is built."""
    waiting = layer.requests.waiting
    found = _found(layer, waiting)
    if len(found) < len(waiting):
        raise ValueError(missing(layer, next(request for request in waiting if request not in found)))
    attaching = Attaching(_taps(found))
    inside = keras_layers.held_by(layer)
    new = attaching.of_all(inside, outermost=False)
    attaching.record()
    copies.swap(layer, {id(old): other for old, other in zip(inside, new, strict=True)})
    layer.requests = Requests(here=waiting)


def missing(layer, request: Request) -> str:
    """The error message if `layer` has no layer for the penalty of a file."""
    steps = saved.short(list(request.steps))
    return (
        f"'{layer.name}' ({type(layer).__name__}) was saved with a penalty at {steps}, which must be one of "
        "its layers, but it has no layer there. Has its code changed since?"
    )


def _taps(found: dict[Request, Tensor]) -> list[Tap]:
    """The receivers of requests on the tensors that were found for them."""
    taps = [Tap(tensor, request.receiver) for request, tensor in found.items()]
    for request, tap in zip(found, taps, strict=True):
        if not request.mask_is_outside:
            tap.check_mask()
    return taps


def _found(layer, requests) -> dict[Request, Tensor]:
    places = {tuple(place.steps): place for place in places_in(layer)} if requests else {}
    for request in requests:
        if request.steps in places:
            saved.check_place(places[request.steps], request)
    return {
        request: Tensor(
            places[request.steps], (request.use,), request.receiver.part, places[request.steps].operation.name
        )
        for request in requests
        if request.steps in places
    }
