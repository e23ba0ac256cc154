"""Padding that the model knows about, but a penalty counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_penalties import _numerics
from keras_penalties._keras import graphs
from keras_penalties._keras.masks import get_keras_mask
from keras_penalties._keras.scopes import as_numpy
from keras_penalties._tensors.masks import named_inputs


@dataclass(frozen=True)
class KnownMask:
    """A mask in a pass of a model.

    Attributes:
        name: the name of the input, or of the layer that gets a tensor with this mask.
        is_input: whether it is an input; otherwise Keras keeps it with a tensor.
        counted: an array, True where a step counts.
    """

    name: str
    is_input: bool
    counted: np.ndarray


@dataclass(frozen=True)
class MaskedInput:
    """An input that is zero exactly where a mask drops something, such as token ids padded with 0.

    Attributes:
        name: its name, as `mask_from=` takes it.
        for_hidden_outputs: whether `HiddenOutputs` takes it too. It calls its model only on `x`, so other
            arguments of the `call` of a subclassed model are only for `penalize`.
    """

    name: str
    for_hidden_outputs: bool


@dataclass(frozen=True)
class CountedPadding:
    """Padding that a penalized tensor, which has no mask, includes.

    Attributes:
        elements: how many of its elements are padding.
        mask: the mask that says so.
        dropped_by: the layer or operation that gets a tensor with this mask, and returns one without, on the
            way to the penalized tensor; None if it is unknown.
        by_its_code: whether the code of that layer drops the mask, before the layer returns anything.
        masked_input: an input of a layer or model around the tensor that can be the mask, or None.
    """

    elements: int
    mask: KnownMask
    dropped_by: Any = None
    by_its_code: bool = False
    masked_input: MaskedInput | None = None


@dataclass
class Call:
    """A call of a layer or operation.

    Attributes:
        operation: what was called.
        around: the call whose code it is part of, or None.
        inputs: the tensors it was called on, except masks, each with the mask that Keras kept with it.
        named: its inputs by the names that `mask_from=` takes.
    """

    operation: Any
    around: Call | None
    inputs: list
    named: dict = field(default_factory=dict)


class MaskTrace:
    """The masks in a pass: those of Keras, arguments with "mask" in their name, and which calls drop them."""

    def __init__(self):
        self._masks = {}  # by id: a mask, with its name and whether it is an input
        self._running: list[Call] = []
        self._makers, self._users = {}, {}  # by id of a tensor: the tensor and the first call of this kind

    def begin(self, operation, args, kwargs) -> Call:
        """Record that a call begins."""
        given = {name: value for name, value in kwargs.items() if "mask" not in name}
        inputs = [(x, get_keras_mask(x)) for x in tree.flatten((args, given)) if ops.is_tensor(x)]
        call = Call(operation, self._running[-1] if self._running else None, inputs)
        for _, mask in inputs:
            self._remember(mask, operation.name, False)
        if isinstance(operation, keras.layers.Layer):
            call.named = named_inputs(operation, args, kwargs)
            for name in _inputs_of(operation, call.named) - {"mask"}:  # in which Keras passes its own
                if "mask" in name:
                    self._remember(call.named.get(name), name, True)
        for x, _ in inputs:
            self._users.setdefault(id(x), (x, call))
        self._running.append(call)
        return call

    def end(self, call: Call, outputs=None):
        """Record that a call ends, and the tensors that it returns."""
        while self._running and self._running.pop() is not call:
            pass
        for x in tree.flatten(outputs):
            if ops.is_tensor(x):
                self._makers.setdefault(id(x), (x, call))  # of nested calls, the innermost ends first

    def _remember(self, mask, name, is_input):
        if ops.is_tensor(mask) and id(mask) not in self._masks:
            self._masks[id(mask)] = mask, name, is_input  # keep the mask, so that no other object gets its id

    def known(self) -> list[KnownMask]:
        """The masks that drop something and have a value for each step. An argument is one if it has zeros
        and ones; others are positions, or additions to attention scores."""
        found = []
        for mask, name, is_input in self._masks.values():
            array = as_numpy(mask if is_input else _numerics.booleans(mask))
            if array is not None and array.ndim > 1 and set(np.unique(array)) <= {0, 1} and not np.all(array):
                found.append(KnownMask(name, is_input, array.astype(bool)))
        return sorted(found, key=lambda known: not known.is_input)

    def padding_in(self, tensors) -> dict[int, CountedPadding]:
        """By id, the padding that each of `tensors`, which were penalized without a mask, includes."""
        known, found = self.known(), {}
        for x in tensors:
            for mask in known:
                rank = mask.counted.ndim
                if rank < len(x.shape) and tuple(x.shape[:rank]) == mask.counted.shape:
                    found[id(x)] = self._counted(x, mask)
                    break
        return found

    def _counted(self, x, mask: KnownMask) -> CountedPadding:
        elements = int(np.sum(~mask.counted)) * int(np.prod(x.shape[mask.counted.ndim :]))
        _, user = self._users.get(id(x), (x, None))
        _, call = self._makers.get(id(x), (x, user))
        if mask.is_input:
            return CountedPadding(elements, mask, masked_input=_masked_input(call, mask))
        dropped_by, by_its_code = self._dropped(x, user, mask.counted.shape, set())
        return CountedPadding(elements, mask, dropped_by, by_its_code, _masked_input(call, mask))

    def _dropped(self, x, user: Call | None, shape, done: set) -> tuple[Any, bool]:
        """What dropped a mask of `shape` on the way to `x`, which `user` was called on: a layer or operation,
        and whether its own code did; or None."""
        _, call = self._makers.get(id(x), (x, None))
        by_its_code = call is None
        if by_its_code:
            call = user.around if user is not None else None
        if call is None or id(call) in done:
            return None, False
        done.add(id(call))
        is_masked = any(mask is not None and tuple(mask.shape) == shape for _, mask in call.inputs)
        if is_masked and not (by_its_code and graphs.is_graph(call.operation)):
            return call.operation, by_its_code
        for earlier, _ in call.inputs:
            found = self._dropped(earlier, call, shape, done)
            if found[0] is not None:
                return found
        return None, False


def _masked_input(call: Call | None, mask: KnownMask) -> MaskedInput | None:
    """The input of the innermost layer or model around `call` that is zero exactly where `mask` drops."""
    call = call.around if call is not None else None
    while call is not None:
        of_graph = graphs.is_graph(call.operation)
        for name in sorted(_inputs_of(call.operation, call.named)):
            array = as_numpy(call.named[name]) if ops.is_tensor(call.named.get(name)) else None
            if array is not None and np.array_equal(array != 0, mask.counted):
                return MaskedInput(name, of_graph or call.around is not None)
        call = call.around
    return None


def _inputs_of(layer, named: dict) -> set:
    """The names of the inputs of a graph of layers, or of the arguments of another layer."""
    return set(graphs.input_names(layer) if graphs.is_graph(layer) else named)


def kept(x: np.ndarray, mask: np.ndarray | None, axis: int = -1) -> np.ndarray:
    """The elements of `x`, with the features at `axis`, that `mask` keeps."""
    if mask is None:
        return x
    if mask.ndim < x.ndim:
        return np.moveaxis(x, axis, -1)[mask]
    return x[np.broadcast_to(mask, x.shape)]
