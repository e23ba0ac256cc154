"""A penalty's strength: a number, a schedule over training batches, or a target to meet."""

from typing import TypeAlias

import keras
import numpy as np
from keras import ops

from keras_penalties import _checks
from keras_penalties.schedules._target import Target

# The steps at which a schedule is checked when it is passed: dense at first, then sparser.
LOOKED_AT = (*range(10), *(int(step) for step in np.geomspace(10, 2e6, 30)))


# How far below 0 a strength may be rounded.
ROUNDING = 1e-6


# What can be passed as a strength.
Strength: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule | Target


def check(value, owner, argument="strength"):
    """`value` as a strength; an error if it is not valid."""
    if isinstance(value, Target):
        return value
    if not is_moving(value):
        return _checks.number(
            value, argument, owner, at_least=0.0, hint="or a schedule of `keras.optimizers.schedules`"
        )
    for step in LOOKED_AT:
        strength = float(keras.ops.convert_to_numpy(value(step)))
        if not (np.isfinite(strength) and strength >= 0):
            raise ValueError(
                f"`{argument}` of {owner} is the schedule {type(value).__name__}, which returns {strength:g} "
                f"at step {step}. It must return a finite number >= 0 at every step."
            )
    return value


def is_moving(value) -> bool:
    return isinstance(value, (keras.optimizers.schedules.LearningRateSchedule, Target))


def fixed(value):
    """A constant strength as a float, or None."""
    return float(value) if isinstance(value, (int, float)) else None


def at(schedule, step):
    """The value of a schedule at `step`, in float32; NaN, which shows in the loss, if it is negative.

    A schedule that falls to 0 may end just below it: XLA computes `1 - 6 * (1 / 6)` as -6e-8.
    """
    strength = ops.cast(schedule(step), "float32")
    return ops.where(strength >= -ROUNDING, ops.relu(strength), float("nan") * ops.ones_like(strength))


def keep_kind(penalty):
    """Let the strength of `penalty`, which now has an owner (a layer or model), be replaced only by one of
    the same kind: the owner has no variables for another kind."""
    if hasattr(penalty, "has_owner"):  # not a regularizer of Keras
        penalty.has_owner = True


def check_kind(value, before, owner):
    """Raise an error if a strength is of another kind than `before`."""
    if _kind(value) != _kind(before):
        raise ValueError(
            f"`strength` of this {owner} must stay {_kind(before)}, since a layer or model owns the penalty "
            f"and has variables only for that. Received: {value!r}. Create another layer, or pass "
            "another penalty to `compile`."
        )


def _kind(value):
    if isinstance(value, Target):
        return "a `keras_penalties.schedules.Target`"
    return "a schedule" if is_moving(value) else "a number"
