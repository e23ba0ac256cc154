"""A layer that calls receivers on its own tensors, and the classes created for it."""

from __future__ import annotations

import functools
import threading
from contextlib import contextmanager
from typing import Any

import keras
from keras import tree

from keras_penalties._checks import shapes_agree
from keras_penalties._keras import clones, graphs, hooks, scopes
from keras_penalties._keras.masks import get_keras_mask, set_keras_mask
from keras_penalties._tensors import masks
from keras_penalties._tensors.names import Part
from keras_penalties._tensors.search import gives_scores


class Tapped(hooks.HoldsHelpers):
    """A layer that calls receivers on its own tensors: a mixin for the class of a copied layer.

    Attributes:
        receivers: what it calls.
    """

    receivers: Receivers
    activity_penalties: list
    activation: Any
    name: str
    supports_masking: bool
    compute_mask: Any

    def __call__(self, *args, **kwargs):
        if any(isinstance(x, keras.KerasTensor) for x in tree.flatten((args, kwargs))):
            return super().__call__(*args, **kwargs)  # type: ignore[misc]
        parts = [receiver.part for receiver in self.receivers.all]
        hides_scores = Part("output", 1) in parts and gives_scores(self)
        hides_scores = hides_scores and not kwargs.get("return_attention_scores")
        if hides_scores:
            kwargs["return_attention_scores"] = True
        training = kwargs.get("training")
        args, kwargs = self._with_inputs(args, kwargs, training)
        activations = [self.activation] if any(part.kind == "preactivation" for part in parts) else []
        mask = self._mask_of_output(args, kwargs) if activations else None

        def replace(x):
            return self._received("preactivation", with_mask(x, mask), training, replaces=True)

        with recorded(activations, replace) as preactivations, running(self):
            outputs = super().__call__(*args, **kwargs)  # type: ignore[misc]
        outputs = self._received("output", outputs, training, replaces=True)
        if activations and activations[0].activation is keras.activations.linear:
            preactivations = [outputs]
        self._received("input", args[0] if args else next(iter(kwargs.values())), training)
        for tensor in preactivations:
            self._received("preactivation", with_mask(tensor, mask), training)
        self._received("output", outputs, training)
        if hides_scores:
            outputs = [tensor for i, tensor in enumerate(outputs) if i != 1]
            return outputs[0] if len(outputs) == 1 else tuple(outputs)
        return outputs

    def _mask_of_output(self, args, kwargs):
        """The mask that Keras keeps with the output, or None. The input of the activation has it too."""
        inputs = args[0] if args else next(iter(kwargs.values()))
        own = kwargs.get("mask")
        own = tree.map_structure(get_keras_mask, inputs) if own is None else own
        if not self.supports_masking or all(mask is None for mask in tree.flatten(own)):
            return None
        return next(iter(tree.flatten(self.compute_mask(inputs, own))), None)

    def _with_inputs(self, args, kwargs, training: bool | None):
        """The arguments of the call, with the inputs that receivers replace."""
        name = None if args else next(iter(kwargs))
        inputs = self._received("input", kwargs[name] if name else args[0], training, replaces=True)
        return (args, {**kwargs, name: inputs}) if name else ((inputs, *args[1:]), kwargs)

    def _received(self, kind: str, tensors, training: bool | None, replaces: bool = False):
        """`tensors`, after the receivers of this kind were called on theirs; only those that replace them, or
        only the others."""
        receivers = [r for r in self.receivers.all if r.part.kind == kind and r.replaces == replaces]
        if not receivers:
            return tensors
        flat = tree.flatten(tensors)
        for receiver in receivers:
            index = receiver.part.index
            if kind == "input" and index is None and len(flat) > 1:
                receiver(flat, self.name, training)
                continue
            index = index or 0
            if index >= len(flat):
                raise ValueError(
                    f"A penalty needs {kind} {index} of a layer that has {len(flat)}. Indices are counted "
                    f"from 0: name one of at most {len(flat) - 1}."
                )
            flat[index] = receiver(flat[index], self.name, training)
        return tree.pack_sequence_as(tensors, flat)

    def quantize(self, *args, **kwargs):
        # Keras (keras/src/layers/core/dense.py and others) quantizes its own classes, but not subclasses.
        if unmixed(type(self)).__module__.startswith("keras."):
            kwargs["type_check"] = False
        return super().quantize(*args, **kwargs)  # type: ignore[misc]

    @property
    def helpers(self):
        return getattr(self, "activity_penalties", ())


def with_mask(x, mask: Any):
    """`x`, which keeps `mask` if it has none, and if that fits."""
    if mask is None or get_keras_mask(x) is not None or len(mask.shape) >= len(x.shape):
        return x
    if shapes_agree(mask.shape, x.shape[: len(mask.shape)]):
        set_keras_mask(x, mask)
    return x


class RecordedActivation:
    """An activation that records its inputs inside `recorded`."""

    def __init__(self, activation):
        self.activation, self.local = activation, threading.local()

    def __call__(self, x):
        for found, replace in getattr(self.local, "stack", [])[-1:]:
            x = replace(x)
            found.append(x)
        return self.activation(x)


@contextmanager
def recorded(activations: list, replace):
    """Record the inputs of each of `activations` on this thread, inside the context; `replace` takes each and
    returns the tensor to continue with."""
    found: list = []
    for recorder in activations:
        recorder.local.__dict__.setdefault("stack", []).append((found, replace))
    try:
        yield found
    finally:
        for recorder in activations:
            recorder.local.stack.pop()


_local = threading.local()


@contextmanager
def running(layer):
    """Mark that `layer.__call__` runs on this thread, so that `call` runs the plain layer and does not go
    through `__call__` again."""
    stack = _local.__dict__.setdefault("stack", [])
    stack.append(layer)
    try:
        yield
    finally:
        stack.pop()


def is_running(layer) -> bool:
    return any(layer is other for other in getattr(_local, "stack", ()))


class Receivers:
    """The receivers of a tapped layer, hidden from Keras' attribute tracking."""

    def __init__(self, receivers):
        self.all: list[Any] = list(receivers)


@functools.cache
def tapped_class(cls):
    """`cls` with `Tapped` mixed in; it looks like `cls`."""
    if issubclass(cls, Tapped):
        return cls
    is_graph = issubclass(cls, (keras.Sequential, graphs.Functional))
    new = mixed(Tapped, mixed(clones.NotCloned, cls) if is_graph else cls)

    @functools.wraps(cls.call)  # Keras reads its arguments
    def call(self, *args, **kwargs):
        if is_running(self) or scopes.is_symbolic():
            return cls.call(self, *args, **kwargs)
        return self(*args, **kwargs)  # by `stateless_call` (keras/src/layers/layer.py), past `__call__`

    new.call = call
    return new


@functools.cache
def source_class(cls):
    """`cls` with `MaskSource` mixed in."""
    if issubclass(cls, masks.MaskSource):
        return cls
    new = mixed(masks.MaskSource, cls if clones.keeps_class(cls) else mixed(clones.NotCloned, cls))

    @functools.wraps(cls.call)
    def call(self, *args, **kwargs):
        with masks.available(self.masks_in(args, kwargs)):
            return cls.call(self, *args, **kwargs)

    new.call = call
    return new


def mixed(mixin, cls):
    """A subclass of `cls` with `mixin` in front. It looks like `cls`, and is saved as `cls` by default."""
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls.__name__, (mixin, cls), {**names, "plain_class": unmixed(cls)})


def is_mixed(cls) -> bool:
    return "plain_class" in vars(cls)


def unmixed(cls):
    """The class that the user knows, from which `cls` was created here."""
    return vars(cls).get("plain_class", cls)
