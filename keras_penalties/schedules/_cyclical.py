"""A strength that rises in cycles."""

import keras
from keras import ops

from keras_penalties import _checks
from keras_penalties._serialization import register
from keras_penalties._types import Config, Tensor


@register
class Cyclical(keras.optimizers.schedules.LearningRateSchedule):
    r"""A strength that rises from zero in each cycle, then stays at its maximum until the cycle ends.

    $$s_k = s\,\min\left(1, \frac{\tau_k}{R}\right),\qquad \tau_k = \frac{k \bmod T}{T}$$

    \(k\) counts training batches from 0, \(T\) is the length of a cycle and \(R\) the share of it in which
    the strength rises. It is a Keras schedule, so an optimizer accepts it too.

    Args:
        strength: the maximum \(s\), a finite float >= 0.
        cycle_steps: the number of training batches in a cycle, an int >= 1.
        ratio: the share \(R\) of a cycle in which the strength rises, a float in (0, 1]. Defaults to 0.5.
        cycles: after how many cycles the strength stays at its maximum. Defaults to None: never.
        name: the schedule's name.

    Example:

    >>> import keras_penalties as kp
    >>> schedule = kp.schedules.Cyclical(0.4, cycle_steps=4)
    >>> [round(float(schedule(step)), 6) for step in range(6)]
    [0.0, 0.2, 0.4, 0.4, 0.0, 0.2]

    Raises:
        TypeError: if an argument is not a number, or `cycle_steps` or `cycles` not an int.
        ValueError: if an argument is out of range.

    Source: Fu, Li, Liu, Gao, Celikyilmaz and Carin, [Cyclical Annealing Schedule: A Simple Approach to
    Mitigating KL Vanishing](https://arxiv.org/abs/1903.10145), NAACL 2019, equations 6 and 7, with the linear
    rise. There the strength is 1, the ratio 0.5, and a training has four cycles.
    """

    def __init__(
        self,
        strength: float,
        cycle_steps: int,
        ratio: float = 0.5,
        cycles: int | None = None,
        name: str = "cyclical",
    ):
        super().__init__()
        self.strength = _checks.number(strength, "strength", "Cyclical", at_least=0.0)
        self.cycle_steps = _checks.whole(cycle_steps, "cycle_steps", "Cyclical")
        self.ratio = _checks.number(ratio, "ratio", "Cyclical", above=0.0, at_most=1.0)
        self.cycles = None if cycles is None else _checks.whole(cycles, "cycles", "Cyclical")
        self.name = name

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "int32")
        share = ops.cast(step % self.cycle_steps, "float32") / self.cycle_steps
        height = ops.minimum(share / self.ratio, ops.ones_like(share))
        if self.cycles is not None:
            height = ops.where(step >= self.cycle_steps * self.cycles, ops.ones_like(height), height)
        return self.strength * height

    def get_config(self) -> Config:
        return {
            "strength": self.strength,
            "cycle_steps": self.cycle_steps,
            "ratio": self.ratio,
            "cycles": self.cycles,
            "name": self.name,
        }
