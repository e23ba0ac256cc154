"""What one training step shows of each penalty: values, how they are counted, and gradients."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from keras import ops, tree

from keras_penalties._audit import watch
from keras_penalties._keras import gradients
from keras_penalties._keras.masks import get_keras_mask
from keras_penalties.schedules import _strength


@dataclass
class Seen:
    """All that was seen of one penalty.

    Attributes:
        owner: who holds it.
        penalty: the penalty, regularizer or loss; None for a bare `add_loss`.
        value: what it adds.
        strength: its strength in this step, if it has one.
        counts: for each use, how often what it adds is counted in the loss.
        on_jax: for each use, whether the JAX backend would keep it.
        per_call: how many tensors of one call of its layer are punished.
        reaches: the norm of its gradient with respect to all trainable weights.
        gradient, main_gradient: the norms of its gradient and of the main loss's at its tensors, or None.
        xs, masks: the punished tensors of the first use, as arrays, and their masks.
        elements, masked: how many elements are counted, and how many are masked and count for nothing.
        padding: how many elements are counted that a mask drops.
    """

    owner: watch.Owner
    penalty: object
    value: float
    strength: float | None
    counts: list
    on_jax: list
    per_call: int
    reaches: float
    gradient: float | None
    main_gradient: float | None
    xs: list
    masks: list
    elements: int
    masked: int
    padding: int


class Step:
    """One training step of `model` on `batch`, and what was seen of each penalty in it.

    Attributes:
        total: the loss.
        main: the loss without what is seen here.
        seen: a list of `Seen`.
        rows: the size of the batch.
    """

    def __init__(self, model, batch):
        self.model, self.batch = model, batch
        self.owners = watch.owners(model)
        with watch.set_back(model):
            total, self.uses = watch.of_step(model, self.owners, batch)
        self.total, self.rows = _number(total), len(tree.flatten(batch[0])[0])
        self.counts = self._counts()
        self.main = self.total - sum(
            count * sum(_number(value) for value in use.values)
            for use, count in zip(self.uses, self.counts, strict=True)
        )
        self.on_jax = self._on_jax()
        self.seen = list(self._seen())

    def _counts(self):
        """How often each addition is counted in the loss: the slope of the loss along it."""

        def step(_, offsets):
            return [watch.of_step(self.model, self.owners, self.batch, offsets=offsets)[0]]

        offsets = [ops.zeros(()) for _ in self.uses]
        with watch.set_back(self.model):
            (slopes,) = gradients.slopes(step, [], offsets)
        return [0.0 if slope is None else round(_number(slope), 3) for slope in slopes]

    def _on_jax(self):
        uses = Counter(id(use.owner.layer) for use in self.uses if use.owner.way != "HiddenOutputs")
        if max(uses.values(), default=0) < 2:
            return [True] * len(self.uses)
        return watch.jax_keeps(self.model, self.owners, self.batch[0])

    def _norms(self):
        """The gradients of the main loss, and of each penalty at each use: the norm over all weights, and the
        squared norms at each tensor, by tap."""
        tensors = {t: x for use in self.uses for t, x in zip(use.taps, use.xs, strict=True) if t is not None}

        def step(trainable, zeros):
            shifts = dict(zip(tensors, zeros, strict=True))
            total, uses = watch.of_step(
                self.model, self.owners, self.batch, shifts=shifts, trainable=trainable
            )
            counted = zip(uses, self.counts, strict=True)
            main = total - sum(ops.cast(count * v, "float32") for use, count in counted for v in use.values)
            return [main, *(ops.cast(value, "float32") for use in uses for value in use.values)]

        weights = self.model.trainable_variables
        zeros = [ops.zeros_like(x) for x in tensors.values()]
        with watch.set_back(self.model):
            for slopes in gradients.slopes(step, weights, zeros):
                squares = [_square(slope) for slope in slopes]
                at = dict(zip(tensors, squares[len(weights) :], strict=True))
                yield math.sqrt(sum(squares[: len(weights)])), at

    def _seen(self):
        (_, of_main), *norms = self._norms()
        found = {}
        for use, count, kept in zip(self.uses, self.counts, self.on_jax, strict=True):
            for i, value in enumerate(use.values):
                one = _OneUse(use, _number(value), count, kept, *norms.pop(0))
                found.setdefault((id(use.owner.layer), use.owner.way, i), []).append(one)
        for owner in self.owners:
            for i, penalty in enumerate(owner.penalties):
                uses = found.pop((id(owner.layer), owner.way, i), [])
                if uses or owner.way != "add_loss":
                    yield _summed(owner, penalty, i, uses, of_main)
        for (_, _, i), uses in found.items():
            yield _summed(uses[0].use.owner, None, i, uses, of_main)


@dataclass
class _OneUse:
    use: watch.Use
    value: float
    count: float
    on_jax: bool
    reaches: float
    squares: dict


def _summed(owner, penalty, i, ones, of_main):
    uses = [one.use for one in ones]
    taps = [(one, tap) for one in ones for tap in one.use.taps]
    known = bool(taps) and all(tap is not None for _, tap in taps)
    sizes = [_sizes(x, mask) for use in uses for x, mask in zip(use.xs, use.masks, strict=True)]
    dropped = [_sizes(x, get_keras_mask(x))[1] for use in uses for x in use.xs]
    strength = next((use.strengths[i] for use in uses), getattr(penalty, "strength", None))
    return Seen(
        owner,
        penalty,
        value=sum(one.value for one in ones),
        strength=_number(strength) if ops.is_tensor(strength) else _strength.fixed(strength),
        counts=[one.count for one in ones],
        on_jax=[one.on_jax for one in ones],
        per_call=max(Counter(use.call for use in uses).values(), default=1),
        reaches=math.hypot(*(one.reaches for one in ones)),
        gradient=math.sqrt(sum(one.squares[tap] for one, tap in taps)) if known else None,
        main_gradient=math.sqrt(sum(of_main[tap] for _, tap in taps)) if known else None,
        xs=[_array(x) for use in uses[:1] for x in use.xs],
        masks=[None if m is None else _array(m) for use in uses[:1] for m in use.masks],
        elements=sum(counted for counted, _ in sizes),
        masked=sum(masked for _, masked in sizes),
        padding=sum(dropped) if owner.way == "activity_regularizer" else 0,
    )


def _sizes(x, mask):
    """How many elements of `x` a mask keeps, and how many it drops."""
    size = math.prod(x.shape)
    if mask is None:
        return size, 0
    kept = int(ops.convert_to_numpy(ops.sum(ops.cast(mask, "int32")))) * size // max(1, math.prod(mask.shape))
    return kept, size - kept


def _square(slope):
    return 0.0 if slope is None else _number(ops.sum(ops.square(ops.cast(slope, "float32"))))


def _number(value):
    return float(ops.convert_to_numpy(ops.sum(ops.cast(value, "float32"))))


def _array(x):
    return np.asarray(ops.convert_to_numpy(ops.cast(x, "float32") if "float" in str(x.dtype) else x))
