"""Attached penalties: the values that they add to the loss, and show in the logs by name."""

from typing import Any

import keras
from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._keras import graphs, sizes
from keras_penalties._training.state import Learned
from keras_penalties._training.strengths import Strengths
from keras_penalties.regularizers import Penalty


def as_penalties(value, argument, owner) -> list:
    """A penalty, a Keras regularizer (or its name or config), or a list of these, as a list."""
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    penalties = [_by_name(item) for item in items]
    for item, penalty in zip(items, penalties, strict=True):
        if isinstance(penalty, type) and issubclass(penalty, keras.regularizers.Regularizer):
            raise TypeError(
                f"`{argument}` of {owner} must be a penalty, not its class. "
                f"Received: {penalty.__name__}. Call it with a strength: {penalty.__name__}(0.01)."
            )
        if not isinstance(penalty, keras.regularizers.Regularizer):
            raise TypeError(
                f"`{argument}` of {owner} must be a penalty of `keras_penalties.regularizers`, a "
                f"`keras.regularizers` object, or a list of these. Received: {item!r} (of type "
                f"{type(item).__name__}). A function or lambda cannot be saved with the model: write "
                "a subclass of `keras_penalties.regularizers.PerExamplePenalty` with one method."
            )
    if not penalties:
        raise ValueError(f"`{argument}` of {owner} must contain at least one penalty. Received: [].")
    return penalties


def _by_name(item):
    if not isinstance(item, (str, dict)):
        return item
    try:
        return keras.regularizers.get(item)
    except ValueError:
        return item


def check(penalties, x, owner, mask=None):
    """Reject at building time what `penalties` cannot measure; `x` and `mask` may be symbolic."""
    for penalty in penalties:
        if isinstance(penalty, Penalty):
            penalty.validate(x, mask)
            if not isinstance(x, (list, tuple)):
                penalty.warn_of(graphs.origin(x))
        elif isinstance(x, (list, tuple)):
            raise ValueError(
                f"{type(penalty).__name__}, given to {owner}, measures one tensor. "
                f"Received a list of {len(x)}."
            )
        else:
            _checks.tensor(x, type(penalty).__name__)


class Term(keras.layers.Layer):
    """What attached penalties add to the loss, with their learned weights and their changing strengths.

    It is part of the layer or model that owns the penalties, and is saved with it.

    Attributes:
        keys: what the logs show in addition to the sum, as ends of a log key: parts and strengths.
        averaged: those of `keys` that are not summed over the uses in a step: strengths, and what targets
            measure.
    """

    def __init__(self, penalties, name):
        super().__init__(name=name, dtype="float32", autocast=False)
        self.built = True
        self.penalties = tuple(penalties)
        self.strengths = Strengths(self.penalties, name)
        parts = [f"_{part}" for penalty in self.penalties for part in getattr(penalty, "parts", ())]
        self.averaged = [*self.strengths.keys.values(), *self.strengths.measure_keys.values()]
        self.keys = [*dict.fromkeys(parts), *self.averaged]
        self.learned: Any = []

    @property
    def waits_for_shapes(self) -> bool:
        """Whether the learned weights depend on shapes, so that `learn` has to be called."""
        return any(
            getattr(type(p), "learned", Penalty.learned) is not Penalty.learned for p in self.penalties
        )

    @property
    def moves(self) -> bool:
        """Whether a strength, or a penalty itself, changes while the model trains."""
        return bool(self.strengths.keys) or any(getattr(p, "counts_steps", False) for p in self.penalties)

    def learn(self, shapes, before: "Term | None" = None):
        """Create the weights that the penalties learn for tensors of these shapes, or keep those of the term
        `before`."""
        needed = [p.learned(shapes) if isinstance(p, Penalty) else {} for p in self.penalties]
        created = [Learned(options, f"{self.name}_{i}") for i, options in enumerate(needed)]
        kept = created if before is None else before.learned
        self.learned = [old if new.fits(old) else new for new, old in zip(created, kept, strict=True)]

    def added(self, x, mask=None, training=False, first=True) -> dict:
        """What is added to the loss for `x`: the sum under `""`, and what else the logs show, by `keys` (a
        strength, and what a target measures, only in the first use in a step).

        Args:
            x: a tensor, or a list of them.
            mask: the mask or masks.
            training: whether this is a training step, which updates the strengths.
            first: whether this is the first use in this step; later uses have the same strengths.
        """
        if first:
            self.strengths.begin(training)
        values: dict[str, Any] = {}
        for i, penalty in enumerate(self.penalties):
            for key, value in self.values_of(i, penalty, x, mask, training).items():
                values[key] = values[key] + value if key in values else value
            if first and i in self.strengths.keys:
                values[self.strengths.keys[i]] = self.strengths.now(i)
            if not first and i in self.strengths.measure_keys:
                del values[self.strengths.measure_keys[i]]
        return values

    def values_of(self, i, penalty, x, mask=None, training=False) -> dict:
        """What the penalty at index `i` adds for `x`, under `""`, and its parts."""
        if not isinstance(penalty, Penalty):
            return {"": _numerics.as_loss(_of_keras(penalty, x, mask))}
        learned = self.learned[i].values if self.learned else {}
        if penalty.counts_steps:
            learned = {**learned, "step": self.strengths.step_now()}
        measured = penalty.measured_parts(*penalty.validate(x, mask), learned)
        values: dict[str, Any] = {"": measured}
        if isinstance(measured, dict):
            values = {"": sum(measured.values())} | {f"_{part}": v for part, v in measured.items()}
        if training:
            self.strengths.adapt(i, values[""])
        strength: Any = self.strengths.now(i)
        if i in self.strengths.keys:
            strength = ops.cast(strength, values[""].dtype)
        added = {key: _numerics.as_loss(strength * value) for key, value in values.items()}
        if i in self.strengths.measure_keys:
            added[self.strengths.measure_keys[i]] = _numerics.as_loss(values[""])
        return added


def _of_keras(penalty, x, mask=None):
    """The rule of Keras 3.15: the sum of what a regularizer returns, divided by the batch size. It gets
    zeros for masked elements."""
    _checks.tensor(x, type(penalty).__name__)
    _checks.mask(mask, x.shape, type(penalty).__name__)
    value = value_of_regularizer(penalty, _numerics.keep(_numerics.accumulate(x), mask))
    return value / _numerics.at_least_one(ops.cast(sizes.size(x), value.dtype))


def value_of_regularizer(regularizer, x):
    """The sum of what `regularizer`, from Keras or a user, returns, which is the scalar that Keras uses."""
    value = regularizer(x)
    if value is None:
        raise TypeError(
            f"{type(regularizer).__name__} must return a tensor, which is added to the loss. Received: None. "
            "Does its `__call__` end in a `return`?"
        )
    value = ops.convert_to_tensor(value)
    value = _numerics.accumulate(value) if _numerics.is_float(value.dtype) else ops.cast(value, "float32")
    return ops.sum(value)
