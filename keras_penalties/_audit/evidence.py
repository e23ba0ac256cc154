"""What one training step shows about each penalty."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_penalties import _numerics
from keras_penalties._audit.padding import CountedPadding
from keras_penalties._audit.recorder import Contribution
from keras_penalties._audit.sources import Source
from keras_penalties._keras.masks import get_keras_mask
from keras_penalties._keras.scopes import as_numpy
from keras_penalties.schedules import _strength


@dataclass
class Use:
    """One penalty in one addition to the loss.

    Attributes:
        addition, place: the addition, and the index of the penalty in it.
        value: what it adds.
        count: how often the loss includes it.
        on_jax: whether the JAX backend would keep it.
        reaches: the norm of its gradient with respect to all trainable weights, or None if unknown.
        squares, of_main: by origin of a tensor, the squared norm of its gradient there, and of the main
            loss's gradient; None if unknown.
        connected: whether it depends on the trainable weights at all.
    """

    addition: Contribution
    place: int
    value: float
    count: float
    on_jax: bool = True
    reaches: float | None = None
    squares: dict | None = None
    of_main: dict | None = None
    connected: bool = True

    @property
    def key(self):
        """The key that all uses of one penalty share."""
        return id(self.addition.source.layer), self.addition.source.way, self.place


@dataclass
class Evidence:
    """What is known about one penalty.

    Attributes:
        source: its owner.
        penalty: the penalty, regularizer or loss; None for a bare `add_loss`.
        value: what it adds.
        strength: its strength in this step, if it has one.
        counts: for each use, how often the loss includes what it adds.
        on_jax: for each use, whether the JAX backend would keep it.
        per_call: how many tensors are penalized in one call of its layer.
        reaches: the norm of its gradient with respect to all trainable weights, or None if unknown.
        gradient, main_gradient: the norms of its gradient and of the main loss's at its tensors, or None.
        bypassed: whether the main loss may depend on one of its tensors by a path that is not traced.
        xs, masks: the penalized tensors of the first use, as arrays, and their masks.
        elements, masked: how many elements are counted, and how many are masked and not counted.
        padding: how many elements are counted although a mask drops them.
        ignored: what is known about that padding, if the mask did not come with the tensor.
    """

    source: Source
    penalty: object
    value: float
    strength: float | None
    counts: list
    on_jax: list
    per_call: int
    reaches: float | None
    gradient: float | None
    main_gradient: float | None
    bypassed: bool
    xs: list
    masks: list
    elements: int
    masked: int
    padding: int
    ignored: CountedPadding | None

    @property
    def axis(self) -> int:
        """The axis of the features."""
        return getattr(self.penalty, "_features", -1)

    @property
    def ratio(self) -> float | None:
        """The gradient at its tensors as a multiple of the main loss's; None if either is unknown."""
        if self.gradient is None or not self.main_gradient:
            return None
        return self.gradient / self.main_gradient


def evidence_of(source, penalty, i, uses, unknown, padding) -> Evidence:
    """The evidence from the `uses` of the penalty at index `i` of `source`. `unknown` has the origins of
    tensors that no layer computed, `padding` what is known about the padding in tensors, by id."""
    additions = [use.addition for use in uses]
    tensors = [pair for a in additions for pair in zip(a.xs, a.masks, strict=True)]
    sizes = [_sizes(x, mask) for x, mask in tensors]
    dropped = [_sizes(x, get_keras_mask(x))[1] for x, _ in tensors]
    dropped = dropped if source.way == "activity_regularizer" else [0] * len(tensors)
    ignored = [padding[id(x)] for x, mask in tensors if mask is None and id(x) in padding]
    strength = next((a.strengths[i] for a in additions), getattr(penalty, "strength", None))
    is_known = strength is not None and ops.is_tensor(strength) and as_numpy(strength) is not None
    gradient, main_gradient = _norms_at_tensors(uses)
    reaches = [use.reaches for use in uses]
    first = additions[:1]
    return Evidence(
        source,
        penalty,
        value=sum(use.value for use in uses),
        strength=number(strength) if is_known else _strength.fixed(strength),
        counts=[use.count for use in uses],
        on_jax=[use.on_jax for use in uses],
        per_call=max(Counter(a.call for a in additions).values(), default=1),
        reaches=None if None in reaches else math.hypot(*reaches),
        gradient=gradient,
        main_gradient=main_gradient,
        bypassed=any(
            origin in unknown and not use.of_main[origin]
            for use in uses
            if use.of_main is not None
            for origin in use.addition.origins
        ),
        xs=[_array(x) for a in first for x in a.xs],
        masks=[None if m is None else _array(m) for a in first for m in a.masks],
        elements=sum(counted for counted, _ in sizes),
        masked=sum(masked for _, masked in sizes),
        padding=sum(dropped) + sum(found.elements for found in ignored),
        ignored=None if sum(dropped) else next(iter(ignored), None),
    )


def _norms_at_tensors(uses):
    """The norms of a penalty's gradient and of the main loss's at all its tensors, or None for each."""
    at = [(use, origin) for use in uses for origin in use.addition.origins]
    if not at or any(origin is None or use.squares is None for use, origin in at):
        return None, None
    return tuple(
        math.sqrt(sum(squares[origin] for squares, origin in pairs))
        for pairs in ([(u.squares, o) for u, o in at], [(u.of_main, o) for u, o in at])
    )


def _sizes(x, mask):
    """How many elements of `x` a mask keeps, and how many it drops."""
    size = math.prod(x.shape)
    if mask is None:
        return size, 0
    mask = _numerics.booleans(mask)
    kept = int(ops.convert_to_numpy(ops.sum(ops.cast(mask, "int32")))) * size // max(1, math.prod(mask.shape))
    return kept, size - kept


def number(value) -> float:
    return float(ops.convert_to_numpy(ops.sum(ops.cast(value, "float32"))))


def _array(x):
    return np.asarray(ops.convert_to_numpy(ops.cast(x, "float32") if "float" in str(x.dtype) else x))
