"""What each penalty adds to the loss while a training step runs, and on which tensors."""

import contextlib
import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
from keras import ops, tree

from keras_penalties._audit.padding import MaskTrace
from keras_penalties._audit.sources import Source
from keras_penalties._keras import gradients, graphs, masks, steps
from keras_penalties._tensors.tapped import Tapped
from keras_penalties._training.log_names import WEIGHT


@dataclass
class Contribution:
    """One addition to the loss.

    Attributes:
        source: the layer or term that adds it.
        loss: what is added, after all marks and offsets.
        values: what each penalty adds.
        xs, masks: the penalized tensors and their masks; empty for a bare `add_loss`.
        strengths: the strength of each penalty in this step.
        call: how often the layer was called before in this step.
        origins: where each tensor comes from, as (id of the layer, call, index among its tensors), or None.
    """

    source: Source
    loss: object
    values: list
    xs: list
    masks: list
    strengths: list
    call: int
    origins: list


class Recorder:
    """Records what is added to the loss while it is open, and can shift the penalized tensors.

    It replaces methods of the layers with its own functions, set on the instances: Keras looks up `call`,
    `add_loss` and `activity_regularizer` there at each call.

    Args:
        sources: what to record.

    Attributes:
        additions: the additions to the loss since `begin`.
        untrained: the ids of the penalty layers that were called without `training`.
        masks: the masks in the pass, and which calls drop them.
        unknown: the origins of tensors that no layer computed, so their use by other layers is not traced.
    """

    def __init__(self, sources):
        self._sources = sources
        self.begin()

    def begin(self, shifts=None, offsets=None, on_value=None, on_slope=None):
        """Begin a new record.

        Args:
            shifts: by origin, what is added to the tensor.
            offsets: what is added to each addition to the loss, in order.
            on_value: called with the index of an addition, the index of a penalty in it, and what that adds.
            on_slope: called with the index of an addition and each gradient that arrives at it.
        """
        self._shifts, self._offsets = shifts or {}, offsets
        self._on_value, self._on_slope = on_value, on_slope
        self.additions, self.untrained, self.unknown, self.masks = [], set(), set(), MaskTrace()
        self._calls, self._regularized = Counter(), {}
        self._origins = {}  # by id: the origin of a tensor, and the tensor, so that no other gets its id
        self._shifted = {}  # by id of a tensor that no layer computed: that tensor, and its replacement

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            for source in self._sources:
                self._install(source, stack)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error):
        self._open.close()

    def _install(self, source, stack):
        layer = source.layer

        def instead(target, name, make):
            stack.enter_context(_replaced(target, name, make(getattr(target, name))))

        if source.way == "HiddenOutputs" and layer.loss is not None:
            instead(layer, "added", lambda old: self._labelled(source, old))
        elif source.way == "HiddenOutputs":
            instead(layer.state, "added", lambda old: self._added(source, layer.state, old))
        elif source.way == "ActivityPenalty":
            instead(layer.get_term(), "added", lambda old: self._added(source, layer.get_term(), old))
            instead(layer, "call", lambda old: self._penalty_call(layer, old))
        else:
            instead(layer, "add_loss", lambda old: self._add_loss(source, old))
            if source.way == "activity_regularizer":
                instead(layer, "activity_regularizer", lambda old: self._regularizer(layer, old))
            for operation in [layer, *_operations(layer)]:
                instead(operation, "call", lambda old, maker=operation: self._call(maker, old))
            if isinstance(layer, Tapped):
                instead(layer, "_received", lambda old: self._received(layer, old))

    # The replacements of the methods.

    def _call(self, maker, old):
        def call(*args, **kwargs):
            traced, outputs = self.masks.begin(maker, args, kwargs), None
            try:
                outputs = old(*args, **kwargs)
            finally:
                self.masks.end(traced, outputs)
            number = self._count(maker)
            flat = tree.flatten(outputs)
            shifted = [self._shift((id(maker), number, i), x) for i, x in enumerate(flat)]
            same = all(a is b for a, b in zip(flat, shifted, strict=True))
            return outputs if same else tree.pack_sequence_as(outputs, shifted)

        return call

    def _received(self, layer, old):
        """Shift what goes into the activation of `layer`, which no layer returns."""

        def received(kind, tensors, training, replaces=False):
            tensors = old(kind, tensors, training, replaces)
            if kind != "preactivation" or not replaces:
                return tensors
            place = id(layer), kind
            self._calls[place] += 1
            return self._shift((*place, self._calls[place]), tensors)

        return received

    def _penalty_call(self, layer, old):
        def call(inputs, *args, **kwargs):
            if not kwargs.get("training"):
                self.untrained.add(id(layer))
            number, flat = self._count(layer), []
            for i, x in enumerate(tree.flatten(inputs)):
                if id(x) not in self._origins and id(x) not in self._shifted:
                    self.unknown.add((id(layer), number, i))
                    self._shifted[id(x)] = x, self._shift((id(layer), number, i), x)
                flat.append(self._shifted[id(x)][1] if id(x) in self._shifted else x)
            traced = self.masks.begin(layer, (inputs, *args), kwargs)
            try:
                return old(tree.pack_sequence_as(inputs, flat), *args, **kwargs)
            finally:
                self.masks.end(traced)

        return call

    def _added(self, source, term, old):
        def added(x, mask=None, training=False, first=True):
            values = old(x, mask, training, first)
            penalties = list(enumerate(term.penalties))
            each = [term.values_of(i, penalty, x, mask)[""] for i, penalty in penalties]
            strengths = [term.strengths.now(i) for i, _ in penalties]
            values[""] = self._add(source, values[""], each, x, mask, strengths)
            return values

        return added

    def _labelled(self, source, old):
        def added(data, hidden, masks, training):
            value, shown = old(data, hidden, masks, training)
            x, mask = source.layer.pick(hidden), source.layer.pick(masks)
            weight = shown.get(f"{source.layer.key}{WEIGHT}", source.layer.weight)
            return self._add(source, value, [value], x, mask, [weight]), shown

        return added

    def _regularizer(self, layer, old):
        def regularizer(x):
            self._regularized[id(layer)] = x
            return old(x)

        return regularizer

    def _add_loss(self, source, old):
        bare = replace(source, way="add_loss", penalties=[None])

        def add_loss(loss):
            x = self._regularized.pop(id(source.layer), None)
            for value in map(ops.sum, tree.flatten(loss)):  # as Keras sums it
                if x is None:
                    old(self._add(bare, value, [value], [], None, [None]))
                else:
                    strength = getattr(source.penalties[0], "strength", None)
                    old(self._add(source, value, [value], x, None, [strength]))

        return add_loss

    def _add(self, source, loss, values, x, mask, strengths):
        place = len(self.additions)
        if ops.dtype(loss) in ("float16", "bfloat16"):
            loss = ops.cast(
                loss, "float32"
            )  # eager TensorFlow, unlike a compiled step, cannot sum two dtypes
        if self._offsets is not None:
            loss = loss + ops.cast(self._offsets[place], loss.dtype) / max(1, math.prod(loss.shape))
        if self._on_value is not None:
            for i, value in enumerate(values):
                gradients.marked(value, on_value=partial(self._on_value, place, i))
        if self._on_slope is not None:
            loss = gradients.marked(loss, on_slope=partial(self._on_slope, place))
        xs = list(x) if isinstance(x, (list, tuple)) else [x]
        parts = list(mask) if isinstance(mask, (list, tuple)) else [mask] * len(xs)
        origins = [self._origins[id(t)][0] if id(t) in self._origins else None for t in xs]
        call = self._calls[id(source.layer)]
        self.additions.append(Contribution(source, loss, values, xs, parts, strengths, call, origins))
        return loss

    def _count(self, maker):
        self._calls[id(maker)] += 1
        return self._calls[id(maker)] - 1

    def _shift(self, origin, x):
        if id(x) in self._origins:  # a model returns the tensor of its last layer
            return x
        if origin in self._shifts:
            mask, x = masks.get_keras_mask(x), x + self._shifts[origin]
            if mask is not None:
                masks.set_keras_mask(x, mask)
        self._origins[id(x)] = origin, x
        return x

    # Recorded steps. The recorder is opened around them, not inside: JAX traces what runs inside, where flax
    # forbids changing a layer.

    def step(self, model, batch, trainable=None, **options):
        """The loss of a training step of `model` as Keras runs it, and its additions."""
        self.begin(**options)
        x, y, sample_weight = batch
        total = steps.step_loss(model, x, y, sample_weight, trainable)
        return ops.sum(ops.cast(total, "float32")), self.additions

    def stateless_step(self, model, batch) -> list:
        """For each addition in the forward pass of `fit` on JAX, whether that backend would keep it."""
        self.begin()
        *_, losses = steps.stateless_step(model, batch[0], [v.value for v in model.trainable_variables])
        return [any(addition.loss is loss for loss in losses) for addition in self.additions]

    def own_step(self, model, batch):
        """A step by the `train_step` of `model`: what each penalty adds, by the index of its addition and its
        own index in it, and for each addition the largest gradient that arrives at it, or 0.0.

        Several arrive if `train_step` takes the gradients of one loss for each part of the model.
        """
        values: dict = {}
        found: Any = Counter()

        def on_value(place, i, value):
            values[place, i] = float(ops.convert_to_numpy(ops.sum(ops.cast(value, "float32"))))

        def on_slope(place, slope):
            slope = float(ops.convert_to_numpy(ops.mean(ops.cast(slope, "float32"))))
            found[place] = max(found[place], slope, key=abs)

        self.begin(on_value=on_value, on_slope=on_slope)
        steps.take_own_step(model, *batch)
        return values, [found[place] for place in range(len(self.additions))]


def _operations(layer):
    """The operations of a graph that are not layers, such as `x * 2`."""
    if not graphs.is_functional(layer):
        return []
    return [operation for operation in layer.operations if not isinstance(operation, keras.layers.Layer)]


@contextlib.contextmanager
def _replaced(target, name, value):
    """Set an attribute of `target` to `value` inside the context, without Keras tracking it."""
    attributes = vars(target)
    own, before = name in attributes, attributes.get(name)
    attributes[name] = value
    try:
        yield
    finally:
        if own:
            attributes[name] = before
        else:
            del attributes[name]
