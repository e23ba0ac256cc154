"""Strengths that change: their values in this step, and their update for the next."""

from typing import Any

import keras
from keras import ops

from keras_penalties._keras import replicas
from keras_penalties._training import log_names
from keras_penalties._training.state import State
from keras_penalties._training.untracked import Untracked
from keras_penalties.schedules import Target, _strength


class Strengths(State):
    """The strengths of several penalties, with a step count for schedules and a variable for each `Target`.

    Each training batch counts once: a second use in a step has the strengths of the first use.

    Args:
        penalties: the penalties, or losses with a weight, each with an attribute `strength`.
        name: the name of this layer.
        ending: the end of the log keys of the strengths.

    Attributes:
        keys: the end of the log key of each strength that changes, by index of the penalty.
        measure_keys: the same for what a penalty with a target measures.
    """

    def __init__(self, penalties, name, ending=log_names.STRENGTH):
        super().__init__(name)
        self._penalties = tuple(penalties)
        strengths = [self._of(i) for i in range(len(penalties))]
        moving = {i: strength for i, strength in enumerate(strengths) if _strength.is_moving(strength)}
        self.keys = log_names.strength_keys({i: penalties[i] for i in moving}, ending)
        targets = [i for i in moving if isinstance(moving[i], Target)]
        self.measure_keys = {i: log_names.measure_key(self.keys[i], ending) for i in targets}
        self._now = Untracked(steps={})
        for penalty in penalties:
            _strength.keep_kind(penalty)
        scheduled = any(not isinstance(strength, Target) for strength in moving.values())
        if scheduled or any(getattr(penalty, "counts_steps", False) for penalty in penalties):
            self.step = self.variable("step", dtype="int32")
        self._adapting = {  # by name: TensorFlow cannot export a dict of variables with numbers as keys
            str(i): self.variable(f"strength_{i}", keras.initializers.Constant(strength.initial))
            for i, strength in moving.items()
            if isinstance(strength, Target)
        }

    def _of(self, i) -> Any:
        """The current strength of the penalty at index `i`: it may have been assigned."""
        return getattr(self._penalties[i], "strength", 1.0)

    def begin(self, training):
        """Begin a step: compute its strengths, and count it if it is a training step."""
        strengths = [self._of(i) for i in range(len(self._penalties))]
        step = ops.copy(self.step.value) if hasattr(self, "step") else None
        now = Untracked(strengths=strengths, errors={}, undamped={}, step=step)
        self._now.steps[replicas.replica()] = now
        for i in self.keys:
            if str(i) in self._adapting:
                # A copy: on torch the variable's own value would change when the strength adapts.
                now.strengths[i] = ops.copy(self._adapting[str(i)].value)
            else:
                now.strengths[i] = _strength.at(self._of(i), step)
        if training and hasattr(self, "step"):
            self.step.assign(self.step.value + 1)

    def step_now(self):
        """How many training steps came before this one; None if they are not counted."""
        return self._now.steps[replicas.replica()].step

    def now(self, i):
        """The strength of the penalty at index `i` in this step."""
        return self._now.steps[replicas.replica()].strengths[i]

    def adapt(self, i, measured):
        """Update a strength with a target, from what its penalty measured in each use of this step. The first
        use also damps it; a second use has the same strength."""
        if str(i) in self._adapting:
            target, now = self._of(i), self._now.steps[replicas.replica()]
            (measured,) = replicas.mean_over_replicas(ops.stop_gradient(measured))
            errors, undamped = now.errors.setdefault(i, []), now.undamped.setdefault(i, now.strengths[i])
            errors.append(target.error(measured))
            if len(errors) == 1:
                now.strengths[i] = target.damped(undamped, errors[0])
            self._adapting[str(i)].assign(target.moved(undamped, sum(errors) / len(errors)))
