"""A self-tuning strength."""

from typing import Self

from keras import ops

from keras_penalties import _checks
from keras_penalties._serialization import made, register
from keras_penalties._types import Config, Tensor


@register
class Target:
    r"""Adjusts a penalty's strength until the penalty measures a given value.

    $$s_k = \sigma_k\,\exp(\kappa\,c_k),\qquad \sigma_{k+1} = \sigma_k\,\exp(\eta\,c_k),\qquad
    c_k = \min\Big(1, \max\Big(-1, \frac{m_k - v}{v}\Big)\Big)$$

    \(m_k\) is what the penalty measures on training batch \(k\), over all replicas, and \(v\) the target
    value. The strength rises while the measure is above the value and falls while it is below, between
    `minimum` and `maximum`. \(\sigma_k\) accumulates the errors so far, at the rate \(\eta\); the damping
    \(\kappa\) responds only to the error of this batch. Without damping, the strength keeps rising until the
    measure has fallen. That is too late, since a layer responds slowly: the measure overshoots and
    oscillates. \(\sigma\) is the multiplier of the constraint \(m \le v\). If the measure is below the value
    without a penalty, the strength ends at `minimum`; if it cannot fall to the value, at `maximum`, which
    `audit` reports. A target needs a few hundred batches; until then `audit` says *not there yet*. The logs
    show the measure as `<key>_measure`.

    Args:
        value: what the penalty should measure, in the units of `measure`, a finite float > 0.
        rate: how much the logarithm of the strength changes per training batch, at most; a float in (0, 1].
            Defaults to 0.1.
        initial: the strength in the first training batch, without damping, a float between `minimum` and
            `maximum`. Defaults to 0.001.
        minimum: the lowest strength, a float > 0. Defaults to 1e-8.
        maximum: the highest strength, a finite float. Defaults to 10000.0.
        damping: how much the error of a batch changes the logarithm of the strength in that batch, a
            float of 0 or more. Defaults to 4.

    Example:

    >>> import keras_penalties as kp
    >>> target = kp.schedules.Target(2.0, rate=0.1, damping=1.0)
    >>> [round(float(target.after(1.0, measured)), 4) for measured in (8.0, 2.0, 1.0)]
    [1.1052, 1.0, 0.9512]
    >>> [round(float(target.damped(1.0, target.error(m))), 4) for m in (8.0, 2.0, 1.0)]
    [2.7183, 1.0, 0.6065]

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if an argument is out of range.

    Source: Sohrabi, Ramirez, Zhang, Lacoste-Julien and Gallego-Posada, [On PI Controllers for Updating
    Lagrange Multipliers in Constrained Optimization](https://arxiv.org/abs/2406.04558), ICML 2024: the
    integral and the proportional term of the controller \(\nu\)PI with \(\nu = 0\). Here they change the
    logarithm of the multiplier, as in Rezende and Viola, [Taming VAEs](https://arxiv.org/abs/1810.00597),
    2018 (GECO), whose update is \(\lambda \leftarrow \lambda \exp(\eta\,C)\). The error is relative to the
    value and bounded, so one rate suits penalties of any size.
    """

    def __init__(
        self,
        value: float,
        rate: float = 0.1,
        initial: float = 0.001,
        minimum: float = 1e-8,
        maximum: float = 1e4,
        damping: float = 4.0,
    ):
        self.value = _checks.number(value, "value", "Target", above=0.0)
        self.rate = _checks.number(rate, "rate", "Target", above=0.0, at_most=1.0)
        self.minimum = _checks.number(minimum, "minimum", "Target", above=0.0)
        self.maximum = _checks.number(maximum, "maximum", "Target", at_least=self.minimum)
        self.initial = _checks.number(
            initial, "initial", "Target", at_least=self.minimum, at_most=self.maximum
        )
        self.damping = _checks.number(damping, "damping", "Target", at_least=0.0)

    def after(self, strength: Tensor, measured: Tensor) -> Tensor:
        """The next strength after a batch that measures `measured`; both strengths are without damping."""
        return self.moved(strength, self.error(measured))

    def error(self, measured: Tensor) -> Tensor:
        """How far `measured` is from the value, as a share of it: between -1 and 1. A value
        that is not finite changes nothing: it may be an overflow that a loss scale is about to fix."""
        measured = ops.convert_to_tensor(measured, "float32")
        error = ops.clip((measured - self.value) / self.value, -1.0, 1.0)
        return ops.where(ops.isfinite(measured), error, ops.zeros_like(error))

    def moved(self, strength: Tensor, error: Tensor) -> Tensor:
        """The strength of the next batch."""
        return ops.clip(strength * ops.exp(self.rate * error), self.minimum, self.maximum)

    def damped(self, strength: Tensor, error: Tensor) -> Tensor:
        """The strength that is used in a batch with this `error`."""
        return ops.clip(strength * ops.exp(self.damping * error), self.minimum, self.maximum)

    def get_config(self) -> Config:
        names = ("value", "rate", "initial", "minimum", "maximum", "damping")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        # Files saved before `damping` was added have no damping.
        return made(cls, {"damping": 0.0, **config} if isinstance(config, dict) else config)
