"""How far a batch is from a standard normal distribution, along random directions."""

import numpy as np
from keras import ops

from keras_penalties import _checks, _numerics, _random
from keras_penalties._serialization import register
from keras_penalties._types import Tensor, Tensors
from keras_penalties.regularizers._families import BatchStatisticPenalty
from keras_penalties.schedules._strength import Strength

FAR = 1e30  # larger activations are clipped to this: their sums along a direction would overflow


@register
class SIGReg(BatchStatisticPenalty):
    r"""How far the rows are from a standard normal distribution, by a test along random directions.

    $$\operatorname{mean}_a\, N\int_{-T}^{T}
    \left|\hat\varphi_a(t) - e^{-t^2/2}\right|^2 e^{-t^2/2}\,dt,\qquad
    \hat\varphi_a(t) = \frac{1}{N}\sum_n e^{\mathrm{i}\,t\,a\cdot x_n}$$

    It keeps embeddings from collapsing, without negatives, a teacher or decorrelation. \(\hat\varphi_a\) is
    the characteristic function of the rows along \(a\), a direction of length 1. The integral is computed by
    the trapezoidal rule on knots from 0 to \(T\), and doubled, since the integrand is even. It is multiplied
    by the number of rows \(N\), as in the authors' code: for normal rows the value is about 1 for any \(N\),
    and for others it grows with \(N\).

    Each training step has other random directions, which are the same on every backend and replica. The owner
    of the penalty (an `ActivityPenalty`, a `HiddenOutputs` or a model from `penalize`) counts the steps and
    saves the count. `measure`, and `evaluate` before any training, use the directions of step 0. As
    `activity_regularizer=`, which has no owner, the penalty raises an error.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`; the authors use
            0.05, with 0.95 for the distance between views.
        slices: the number of directions, an int >= 1. Defaults to 1024.
        knots: the number of knots from 0 to `t_max`, an int >= 2. Defaults to 17.
        t_max: \(T\), a finite float > 0. Defaults to 3.0.
        seed: an int; its lowest 32 bits determine the directions. Defaults to 0.
        axis: the axis of the features. Defaults to the last. Each position is a row.

    Shapes: `x` is `(batch, ..., features)`, any float type; the result is a float32 scalar without units. For
    activations above 1e4, float32 does not resolve the phases: the value is accurate to about 1%.

    Memory: `slices` numbers per row and knot; no rows-by-rows or features-by-features matrix.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> penalty = kp.regularizers.SIGReg(0.05, knots=3, t_max=2.0)
    >>> # along 1 and -1: the mean of exp(itx) is cos(t)
    >>> value = penalty.measure([[1.0], [-1.0]])
    >>> # 2 * (2 * (cos 1 - e**-0.5)**2 * e**-0.5 + (cos 2 - e**-2)**2 * e**-2)
    >>> round(float(value), 6)
    0.092961
    >>> x = np.random.default_rng(0).normal(size=(500, 8))
    >>> sigreg = kp.regularizers.SIGReg(0.05)
    >>> [round(float(sigreg.measure(rows)), 1) for rows in (x, 0.1 * x)]
    [0.9, 193.5]

    Raises:
        TypeError: if `strength` or `t_max` is not a number, or `slices`, `knots`, `seed` or `axis` not an
            int; if it is used as `activity_regularizer=`.
        ValueError: if `strength` is negative or not finite, `slices`, `knots` or `t_max` is out of range, or
            `axis` is the batch.

    Source: Balestriero and LeCun, [LeJEPA: Provable and Scalable Self-Supervised Learning Without the
    Heuristics](https://arxiv.org/abs/2511.08544), 2025, with the test of Epps and Pulley, [A Test for
    Normality Based on the Empirical Characteristic Function](https://doi.org/10.1093/biomet/70.3.723),
    Biometrika 70 (1983). The defaults are those of the authors' code (`EppsPulley` in
    `SlicingUnivariateTest`, 1024 slices), from which lightly's `SIGReg` is taken; the algorithm in the paper
    integrates from -5 to 5. Their random numbers come from PyTorch, so their directions differ.
    """

    _weights_optional = True
    _products = 0
    counts_steps = True

    def __init__(
        self,
        strength: Strength,
        slices: int = 1024,
        knots: int = 17,
        t_max: float = 3.0,
        seed: int = 0,
        axis: int = -1,
    ):
        super().__init__(strength, axis=axis)
        self.slices = _checks.whole(slices, "slices", self._owner)
        self.knots = _checks.whole(knots, "knots", self._owner, at_least=2)
        self.t_max = _checks.number(t_max, "t_max", self._owner, above=0.0)
        self.seed = _checks.whole(seed, "seed", self._owner, at_least=None)

    def with_learned(self, xs: list, learned: dict) -> list:
        """The projections of the rows on the directions of this step."""
        (x,) = xs
        shape = (x.shape[-1], self.slices)
        directions = _random.normal(shape, self.seed, learned.get("step", 0), x.dtype)
        directions = _numerics.unit(directions, 0)
        return [_numerics.clip(x, -FAR, FAR) @ directions]

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        shares = _numerics.shares(rows, weights)
        knots = np.linspace(0.0, self.t_max, self.knots)
        normal = np.exp(-0.5 * knots**2)
        widths = np.full(self.knots, 2.0 * self.t_max / (self.knots - 1))
        widths[[0, -1]] /= 2.0
        apart: Tensor = 0.0
        for t, phi, width in zip(knots.tolist(), normal.tolist(), (widths * normal).tolist(), strict=True):
            real, imaginary = (_numerics.weighted_sum(f(t * rows), shares) for f in (ops.cos, ops.sin))
            apart = apart + width * (ops.square(real - phi) + ops.square(imaginary))
        return _numerics.counted(rows, weights) * (ops.sum(apart) / self.slices)
