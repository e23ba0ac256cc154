"""Receivers on the tensors of a model: layers that are called on a tensor whenever the model computes it.

The named layer is replaced by a copy that shares its weights and calls the receiver itself. The layers
around it are copied too, up to the model, and in a graph those after it; everything else is shared. So the
original does not change, the new model has the same class and methods, its layers are in the same order, and
any code that runs the layer calls the receiver: the model's `call`, its `train_step`, another thread. The
receiver becomes a layer of the graph only if a graph of layers uses the layer several times, or for an
operation that is not a layer.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras_penalties._keras import graphs, scopes
from keras_penalties._keras import layers as keras_layers
from keras_penalties._tensors import masks
from keras_penalties._tensors.names import Part
from keras_penalties._tensors.rebuild import Rebuild
from keras_penalties._tensors.search import Tensor
from keras_penalties._tensors.tapped import Receivers, RecordedActivation, Tapped, source_class, tapped_class


@functools.cache
def _takes_training(cls) -> bool:
    return "training" in inspect.signature(cls.call).parameters


@dataclass(frozen=True)
class Receiver:
    """A layer that is called on a tensor, and returns it unchanged.

    Attributes:
        part: which tensor of the layer that computes it.
        layer: the layer to call. If it cannot be called, its method `miss(why)` is called instead.
        mask_from: the name of the input that is the tensor's mask, or None.
        replaces: whether the model continues with the tensor that `layer` returns, with respect to which a
            derivative is taken.
    """

    part: Part
    layer: Any
    mask_from: str | None = None
    replaces: bool = False

    def __call__(self, x, owner: str, training: bool | None = None):
        """Call it on `x`, which the layer named `owner` has computed, and return the tensor to continue with.

        If its mask is not available, a step of training or evaluation raises an error. Elsewhere, as in
        KerasHub's `generate`, which calls the blocks of a model directly, only reading the losses raises it.
        """
        # In JAX's training step `owner` is the outermost call, whose `training` Keras forgets when it ends.
        passes_on = training is not None and _takes_training(type(self.layer))
        options = {"training": training} if passes_on else {}
        if self.mask_from is None:
            return self._used(self.layer(x, **options), x)
        try:
            mask = masks.current(self.mask_from, owner)
        except masks.NoMask as error:
            if masks.is_needed() and not scopes.is_symbolic():
                raise
            self.layer.miss(str(error))
            return x
        return self._used(self.layer(x, mask=self._fitted(mask, x), **options), x)

    def _used(self, returned, x):
        return returned if self.replaces else x

    def in_graph(self, x, graph):
        """Call it on `x`, a symbolic tensor of the functional model `graph`."""
        if self.mask_from is None:
            return self.layer(x)
        return self.layer(x, mask=self._fitted(graphs.inputs_by_name(graph).get(self.mask_from), x))

    def _fitted(self, mask, x):
        return masks.of_scores(mask, x) if self.part == Part("output", 1) else mask


@dataclass(frozen=True)
class Tap:
    """A receiver on a tensor."""

    tensor: Tensor
    receiver: Receiver

    def meets(self, other: Tap) -> bool:
        """Whether the receivers of both are called on the same tensor, in any use of its layer."""
        one, two, a, b = self.tensor, other.tensor, self.receiver.part, other.receiver.part
        if one.place.operation is not two.place.operation or a.kind != b.kind:
            return False
        if self.is_in_graph and other.is_in_graph:
            of_graph = one.place.holder.operation is two.place.holder.operation
            if not of_graph or one.use != two.use:
                return False
        return (a.index or 0) == (b.index or 0) or (a.kind == "input" and None in (a.index, b.index))

    @property
    def source(self):
        """The innermost layer or model around the tensor that has the mask as an input, or None."""
        around = (holder.operation for holder in self.tensor.place.around)
        return next((layer for layer in around if self.receiver.mask_from in masks.input_names(layer)), None)

    @property
    def has_mask(self) -> bool:
        """Whether it needs no mask, or a layer or model around the tensor has the mask as an input."""
        return self.receiver.mask_from is None or self.source is not None

    def check_mask(self):
        """Raise if it needs a mask that no layer or model around the tensor has as an input."""
        name, place = self.receiver.mask_from, self.tensor.place
        if not self.has_mask:
            raise ValueError(
                f"`mask_from` names {name!r}, but no model or layer around '{place.name}' has an input of "
                f"that name. It must be one of those of '{place.around[-1].operation.name}': "
                f"{sorted(masks.input_names(place.around[-1].operation))}."
            )

    @property
    def symbolic_mask(self):
        """The input that is the mask, if the model or layer that has it is a graph; otherwise None."""
        return graphs.inputs_by_name(self.source).get(self.receiver.mask_from)

    @property
    def is_in_graph(self) -> bool:
        """Whether the receiver becomes a layer of a graph: for an operation that is not a layer, and for one
        of several uses, in one graph or in several."""
        place, part = self.tensor.place, self.tensor.part
        if not place.is_called_layer:
            return True
        if part.kind == "preactivation" or not place.calls or not (len(place.calls) > 1 or place.is_shared):
            return False
        if self.receiver.mask_from is not None and self.source is not place.holder.operation:
            return False
        return part.kind == "input" or (self.tensor.use, part.index or 0) in place.used


class Tapping(Rebuild):
    """A model in which some tensors have receivers.

    Args:
        taps: the receivers.
        dress: takes the class of a copied layer, and returns the class to use instead. It is called for the
            outermost copies that are not plain graphs of layers, where this package's own saved
            configuration starts, and for each layer inside them that has receivers or the mask of one, of
            which Keras' `clone_model`, or a model built from parts, may ask its own configuration.
    """

    def __init__(self, taps: list[Tap], dress: Callable = lambda cls: cls):
        super().__init__()
        self.taps, self.dress = taps, dress
        self.before, self.after, self.inside, self.sources, self.touched = {}, {}, {}, set(), set()
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
                if tap.source is not None:  # in a file, that of a part may be outside of it
                    self.sources.add(id(tap.source))

    def is_changed(self, layer):
        return id(layer) in self.touched

    def is_plain(self, layer):
        return super().is_plain(layer) and id(layer) not in {*self.sources, *self.inside}

    def class_of(self, layer, outermost):
        cls = tapped_class(type(layer)) if id(layer) in self.inside else type(layer)
        cls = source_class(cls) if id(layer) in self.sources else cls
        return self.dress(cls) if not self.is_plain(layer) and (outermost or cls is not type(layer)) else cls

    def around(self, holder, operation, use):
        key = (id(holder), operation.name, use)
        return self.before.get(key, []), self.after.get(key, [])

    def finish(self, new, layer):
        earlier = layer.receivers.all if isinstance(layer, Tapped) else []
        receivers = [*earlier, *self.inside.get(id(layer), [])]
        if receivers:
            tap(new, receivers)


def tap(layer: Tapped, receivers: list[Receiver]):
    """Set the receivers of `layer`. It also tracks their layers, so that these are saved with it."""
    with keras_layers.unlocked(layer):
        layer.receivers = Receivers(receivers)
        layer.activity_penalties = [receiver.layer for receiver in receivers]
        keras_layers.list_held(layer, layer.activity_penalties)
        before = any(receiver.part.kind == "preactivation" for receiver in receivers)
        if before and not isinstance(layer.activation, RecordedActivation):
            layer.activation = RecordedActivation(layer.activation)
