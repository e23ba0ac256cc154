"""Capture hidden tensors of a model in a forward pass."""

from __future__ import annotations

import inspect

import keras
from keras import ops, tree

from keras_penalties import _checks
from keras_penalties._keras import graphs, scopes
from keras_penalties._keras.masks import get_keras_mask
from keras_penalties._tensors import forward_pass
from keras_penalties._tensors.forward_pass import ForwardPass
from keras_penalties._tensors.search import Tensor
from keras_penalties._tensors.taps import Receiver, Tap, Tapping
from keras_penalties._training import masks


class Catcher(keras.layers.Layer):
    """Stores its input and mask under a name, for the pass that runs on its thread, and returns the tensor
    with which the pass continues.

    Args:
        key: the name.
        mask_from: the name of the input that is the mask, or None.
    """

    def __init__(self, key: str, mask_from: str | None = None):
        super().__init__(autocast=False)
        self.key, self.mask_from, self.built, self.supports_masking = key, mask_from, True, True

    def call(self, inputs, mask=None):
        if self.mask_from is not None and mask is not None and not isinstance(inputs, (list, tuple)):
            owner = f"HiddenOutputs, {self.mask_from!r} for {self.key!r},"
            _checks.mask(mask, inputs.shape, owner, "mask_from")
        for forward in forward_pass.current():
            inputs = forward.receive(self.key, inputs, masks.combined(mask, inputs))
        return inputs

    def miss(self, why: str):
        if forward_pass.current():
            raise ValueError(why)

    def compute_mask(self, inputs, previous_mask=None):
        return tree.map_structure(get_keras_mask, inputs)

    def compute_output_spec(self, inputs, mask=None):
        return tree.map_structure(lambda x: keras.KerasTensor(x.shape, dtype=x.dtype), inputs)


class Catching(Tapping):
    """The model that runs inside a `HiddenOutputs`. Nobody cuts parts from it. It shares all other layers, so
    that what is set in the wrapped model later, such as `trainable` of a `BatchNormalization`, applies."""

    copies_moved = False


class Capture:
    """A model that returns hidden tensors in addition to its outputs, in one forward pass.

    Args:
        model: the model.
        tensors: the hidden tensors, by key.
        mask_from: by the same keys, the name of the input that is the mask, or None.
        inputs: the arguments of `call` that are captured too, by key, for a model that is not a graph.
        targets: the keys of the tensors of which derivatives will be taken.
        differentiated: the keys of the tensors with respect to which they will be taken.
    """

    def __init__(
        self,
        model,
        tensors: dict[str, Tensor],
        mask_from: dict[str, str | None],
        inputs: dict[str, str] | None = None,
        targets: frozenset = frozenset(),
        differentiated: frozenset = frozenset(),
    ):
        self.model, self.tensors, self.mask_from = model, tensors, mask_from
        self.inputs, self.targets, self.differentiated = inputs or {}, targets, differentiated
        taps = []
        for key, tensor in tensors.items():
            catcher = Catcher(key, mask_from[key])
            taps.append(Tap(tensor, Receiver(tensor.part, catcher, mask_from[key], key in differentiated)))
        for tap in taps:
            tap.check_mask()
            is_argument = tap.source is model and not graphs.is_graph(model)
            if is_argument and tap.receiver.mask_from not in inputs_of_call(model):
                raise ValueError(
                    f"`mask_from` of HiddenOutputs names {tap.receiver.mask_from!r}, an argument of `call` "
                    f"of '{model.name}' ({type(model).__name__}), but HiddenOutputs calls its model only on "
                    "`x`. Use `keras_penalties.penalize`, or a functional model with this input."
                )
        tapping = Catching(taps)
        self.tapped, self.made = tapping.of(model), tapping.made
        self.accepted = set(inspect.signature(model.call).parameters)
        self.in_graph = {tap.receiver.layer.key for tap in taps if tap.is_in_graph}

    def __call__(self, inputs, **kwargs) -> ForwardPass:
        return ForwardPass(self, inputs, {k: v for k, v in kwargs.items() if k in self.accepted})

    @property
    def keys(self) -> list:
        return [*self.tensors, *self.inputs]

    def received(self, inputs, forward: ForwardPass):
        """`inputs`, after those that are captured."""
        for key, name in self.inputs.items():
            if isinstance(inputs, dict) and name in inputs:
                x = ops.convert_to_tensor(inputs[name])
                inputs = {**inputs, name: forward.receive(key, x, masks.combined(None, x))}
            elif not tree.is_nested(inputs) and name == input_argument(self.model):
                inputs = ops.convert_to_tensor(inputs)
                inputs = forward.receive(key, inputs, masks.combined(None, inputs))
            else:
                raise ValueError(
                    f"A Gradient names {name!r}, which is neither a layer of '{self.model.name}' "
                    f"({type(self.model).__name__}) nor an input of this call. Received: "
                    f"{_described(inputs)}."
                )
        return inputs

    def use(self, name: str, found: list) -> int:
        """The index of the use that `name` refers to, among the captured uses in running order."""
        if name in self.inputs:
            return 0
        tensor, place = self.tensors[name], self.tensors[name].place
        chain = [*reversed(place.holders), *([] if name in self.in_graph else [place])]
        uses = [None] * len(chain) if len(tensor.uses) < len(chain) else tensor.uses[: len(chain)]
        index, count = 0, 1
        for step, use in zip(chain, uses, strict=True):
            calls = max(1, len(step.calls))
            index, count = index * calls + self._run_order(step, use), count * calls
        if not found:
            raise ValueError(
                f"`hidden` names '{place.name}', which did not run in this pass: the code of "
                f"{type(place.around[0].operation).__name__} skips it."
            )
        if name not in self.in_graph and place.calls and place.is_shared:
            raise ValueError(
                f"`hidden` names '{place.name}{tensor.part}', whose layer is also '{place.others[0].name}'. "
                "Only outputs and inputs can be distinguished by place. Name one of these."
            )
        # A graph outside of a graph: which run of it is meant is not known.
        around = [use for step, use in zip(chain, uses, strict=True) if not step.calls]
        is_open = tensor.use is None or (bool(place.calls) and None in around)
        if index >= len(found) or (len(found) != count and is_open):
            raise ValueError(
                f"`hidden` names '{place.name}', which ran {len(found)} time(s) in this pass. Say which "
                f"use, counted from 0: '{place.name}@{len(found) - 1}'."
            )
        return index

    def _run_order(self, place, use: int | None) -> int:
        """How many calls of the layer at `place` its graph runs before `use`."""
        order = [number for number, _ in place.calls]
        if use not in order:
            return use or 0
        # The new graph has the same numbers, but may run in another order.
        graph = graphs.as_functional(self.made[id(place.holder.operation)])
        operation = self.made.get(id(place.operation), place.operation)
        order_of_new = [number for number, _ in graphs.graph_calls(graph)[operation.name]]
        return order_of_new.index(use)

    def specs(self) -> dict:
        """The hidden tensors as symbolic tensors, by name; None if the shape is not known yet."""
        found = {}
        for name, tensor in self.tensors.items():
            calls, index = dict(tensor.place.calls), tensor.part.index or 0
            outputs = calls.get(tensor.use, next(iter(calls.values()), []))
            if tensor.part.kind == "output" and index < len(outputs):
                found[name] = outputs[index]
        missing = [name for name in self.keys if name not in found]
        found |= self._traced(missing)
        return {name: found.get(name) for name in self.keys}

    def _traced(self, names: list) -> dict:
        """The shapes of hidden tensors, from symbolic passes with two sizes: an axis that differs is
        unknown."""
        inputs = graphs.symbolic_inputs(self.model)
        if not names or inputs is None:
            return {}
        passes = []
        for size in (3, 5):
            batch = tree.map_structure(lambda x, size=size: _of_size(x, size), inputs)
            captured: dict = {}

            def run(*args, captured=captured):
                forward = self(*args)
                captured.update({name: (tuple(x.shape), x.dtype) for name, x in forward.tensors.items()})
                return forward.outputs

            scopes.compute_output_spec(run, batch)
            passes.append(captured)
        shapes = {}
        for name in names:
            (a, dtype), (b, _) = passes[0][name], passes[1][name]
            shape = tuple(m if m == n else None for m, n in zip(a, b, strict=True))
            shapes[name] = keras.KerasTensor(shape, dtype=keras.backend.standardize_dtype(dtype))
        return shapes


def _of_size(x, size):
    return keras.KerasTensor(tuple(n or size for n in x.shape), dtype=x.dtype)


def input_argument(model) -> str:
    """The name of the first argument of `call` of `model`."""
    return next(iter(inspect.signature(model.call).parameters))


def inputs_of_call(model) -> set:
    """The names of the inputs of a model that is not a graph."""
    if graphs.is_graph(model):
        return set()
    inputs = graphs.symbolic_inputs(model)
    return {input_argument(model), *(inputs if isinstance(inputs, dict) else ())}


def _described(inputs):
    if isinstance(inputs, dict):
        return f"a dict with the keys {sorted(inputs)}"
    return f"a {type(inputs).__name__}" if tree.is_nested(inputs) else "one tensor"
