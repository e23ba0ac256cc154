"""One training step, watched: each penalty that adds to the loss, on which tensors, and what it adds."""

import contextlib
from collections import Counter
from dataclasses import dataclass, replace

import keras
from keras import ops, tree

from keras_penalties._keras import gradients
from keras_penalties._keras import layers as keras_layers
from keras_penalties.layers import ActivityPenalty
from keras_penalties.models import HiddenOutputs, _graph


@dataclass
class Owner:
    """A layer, or a hidden term, that adds to the loss.

    Attributes:
        name: the name in the logs, or of the layer.
        at: where it sits: a path of layers' names, or of hidden tensors.
        way: how it was attached.
        layer: the layer, or the hidden term.
        above: the layers around it, the outermost first.
        penalties: what was given.
    """

    name: str
    at: str
    way: str
    layer: object
    above: tuple
    penalties: list


@dataclass
class Use:
    """One addition to the loss.

    Attributes:
        owner: who adds.
        loss: what is added: the sum of `values`, which there is one of for each penalty.
        xs, masks: the tensors that are punished, and what counts of them; none for a bare `add_loss`.
        strengths: the strength of each penalty in this step.
        call: how often the layer was called before.
        taps: where each of them comes from, as (id of the layer, call, place among its tensors), or None.
    """

    owner: Owner
    loss: object
    values: list
    xs: list
    masks: list
    strengths: list
    call: int
    taps: list


def owners(model) -> list:
    """All that could add to the loss of `model`, whether it does or not."""
    found, root = [], model
    if isinstance(model, HiddenOutputs):
        root = model.model
        for term in model._state.terms:
            given = term.penalties or [term.loss]
            found.append(Owner(term.key, ", ".join(term.names), "HiddenOutputs", term, (), given))
    for path, layer, above in walk(root):
        regularizer = getattr(layer, "activity_regularizer", None)
        owner = Owner(layer.name, "/".join(path) or layer.name, "", layer, above, [])
        if isinstance(layer, ActivityPenalty):
            owner.way, owner.penalties = "ActivityPenalty", list(layer._term.penalties)
        elif regularizer is not None:
            owner.way, owner.penalties = "activity_regularizer", [regularizer]
        else:
            owner.way, owner.penalties = "add_loss", [None]
        found.append(owner)
    return found


def walk(layer, path=(), above=(), done=None):
    """`layer` and those within it, each once: path, layer, and the layers around it."""
    done = set() if done is None else done
    if id(layer) in done:
        return
    done.add(id(layer))
    yield path, layer, above
    if isinstance(layer, ActivityPenalty):
        return
    inside = [layer.student] if is_distiller(layer) else keras_layers.sublayers(layer)
    for inner in inside:
        yield from walk(inner, (*path, inner.name), (*above, layer), done)


def is_distiller(layer):
    distillation = getattr(keras, "distillation", None)
    return distillation is not None and isinstance(layer, distillation.Distiller)


class Watch:
    """Sees what is added to the loss while it is open, and can shift tensors by what it is given.

    Args:
        owners: what to watch.
        shifts: by tap, what is added to that tensor.
        offsets: what is added to each addition to the loss, in the order in which they come.

    Attributes:
        uses: the additions to the loss.
    """

    def __init__(self, owners, shifts=None, offsets=None):
        self.owners, self.uses = owners, []
        self._shifts, self._offsets = shifts, offsets
        self._made, self._calls, self._regularized = {}, Counter(), {}

    def __enter__(self):
        self._open = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            for owner in self.owners:
                self._watch(owner, stack)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error):
        self._open.close()

    def _watch(self, owner, stack):
        layer = owner.layer

        def instead(target, name, make):
            stack.enter_context(_replaced(target, name, make(getattr(target, name))))

        if owner.way == "HiddenOutputs" and layer.loss is not None:
            instead(layer, "labelled", lambda old: self._labelled(owner, old))
        elif owner.way == "HiddenOutputs":
            instead(layer.state, "added", lambda old: self._added(owner, layer.state, old))
        elif owner.way == "ActivityPenalty":
            instead(layer._term, "added", lambda old: self._added(owner, layer._term, old))
            instead(layer, "call", lambda old: self._call_of_penalty(layer, old))
        else:
            instead(layer, "add_loss", lambda old: self._add_loss(owner, old))
            if owner.way == "activity_regularizer":
                instead(layer, "activity_regularizer", lambda old: self._regularizer(layer, old))
            for operation in [layer, *_operations(layer)]:
                instead(operation, "call", lambda old, by=operation: self._call(by, old))

    # What stands in for the methods of what is watched.

    def _call(self, by, old):
        def call(*args, **kwargs):
            outputs = old(*args, **kwargs)
            number = self._count(by)
            flat = tree.flatten(outputs)
            shifted = [self._shift((by, number, i), x) for i, x in enumerate(flat)]
            same = all(a is b for a, b in zip(flat, shifted, strict=True))
            return outputs if same else tree.pack_sequence_as(outputs, shifted)

        return call

    def _call_of_penalty(self, layer, old):
        def call(inputs, *args, **kwargs):
            number = self._count(layer)
            flat = [self._shift((layer, number, i), x) for i, x in enumerate(tree.flatten(inputs))]
            return old(tree.pack_sequence_as(inputs, flat), *args, **kwargs)

        return call

    def _added(self, owner, term, old):
        def added(x, mask=None, training=False, first=True):
            values = old(x, mask, training, first)
            penalties = list(enumerate(term.penalties))
            each = [term._one(i, penalty, x, mask, False)[""] for i, penalty in penalties]
            strengths = [term.strengths.now(i) for i, _ in penalties]
            values[""] = self._use(owner, values[""], each, x, mask, strengths)
            return values

        return added

    def _labelled(self, owner, old):
        def labelled(y, hidden, sample_weight, training):
            value = old(y, hidden, sample_weight, training)
            x = owner.layer.pick(hidden)
            return self._use(owner, value, [value], x, None, [owner.layer.weight])

        return labelled

    def _regularizer(self, layer, old):
        def regularizer(x):
            self._regularized[id(layer)] = x
            return old(x)

        return regularizer

    def _add_loss(self, owner, old):
        bare = replace(owner, way="add_loss", penalties=[None])

        def add_loss(loss):
            x = self._regularized.pop(id(owner.layer), None)
            for value in map(ops.sum, tree.flatten(loss)):  # as Keras sums what is added
                if x is None:
                    old(self._use(bare, value, [value], [], None, [None]))
                else:
                    strength = getattr(owner.penalties[0], "strength", None)
                    old(self._use(owner, value, [value], x, None, [strength]))

        return add_loss

    def _use(self, owner, loss, values, x, mask, strengths):
        if ops.dtype(loss) in ("float16", "bfloat16"):
            loss = ops.cast(loss, "float32")  # eager TensorFlow sums no two types, which a compiled step does
        if self._offsets is not None:
            loss = loss + ops.cast(self._offsets[len(self.uses)], loss.dtype)
        xs = list(x) if isinstance(x, (list, tuple)) else [x]
        masks = list(mask) if isinstance(mask, (list, tuple)) else [mask] * len(xs)
        taps = [self._made[id(t)][0] if id(t) in self._made else None for t in xs]
        call = self._calls[id(owner.layer)]
        self.uses.append(Use(owner, loss, values, xs, masks, strengths, call, taps))
        return loss

    def _count(self, by):
        self._calls[id(by)] += 1
        return self._calls[id(by)] - 1

    def _shift(self, tap, x):
        key = (id(tap[0]), *tap[1:])
        if self._shifts is not None and key in self._shifts:
            x = x + self._shifts[key]
        elif id(x) in self._made:  # what a model gives, its last layer has made
            return x
        self._made[id(x)] = key, x
        return x


def _operations(layer):
    """The operations of a graph that are no layers, such as `x * 2`."""
    if not _graph._is_graph(layer) or isinstance(layer, keras.Sequential):
        return []
    return [operation for operation in layer.operations if not isinstance(operation, keras.layers.Layer)]


@contextlib.contextmanager
def _replaced(target, name, value):
    own = name in vars(target)
    before = getattr(target, name)
    setattr(target, name, value)
    try:
        yield
    finally:
        if own:
            setattr(target, name, before)
        else:
            delattr(target, name)


def jax_keeps(model, owners, x) -> list:
    """For each addition to the loss in a forward pass, whether `fit` on the JAX backend would keep it."""
    with Watch(owners) as watch:
        *_, losses = gradients.stateless_step(model, x, [v.value for v in model.trainable_variables])
    return [any(use.loss is loss for loss in losses) for use in watch.uses]


def of_step(model, owners, batch, shifts=None, offsets=None, trainable=None):
    """The loss of a training step of `model`, and its uses; see `Watch` for what shifts them."""
    with Watch(owners, shifts, offsets) as watch:
        x, y, sample_weight = batch
        total = gradients.step_loss(model, x, y, sample_weight, trainable)
    return ops.sum(ops.cast(total, "float32")), watch.uses


@contextlib.contextmanager
def set_back(model):
    """Within, what a step moves is let go; after, it is as it was. Gradients have to be taken within."""
    moved = {id(v): v for v in [*model.non_trainable_variables, *model.metrics_variables]}.values()
    before = [ops.copy(v.value) for v in moved]
    try:
        yield
    finally:
        for variable, value in zip(moved, before, strict=True):
            variable.assign(value)
