"""How far a batch is from a distribution, or from another batch."""

import math
from typing import Literal

import numpy as np
from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._distances import distances
from keras_penalties._serialization import register
from keras_penalties._types import Shapes, Tensor, Tensors
from keras_penalties.regularizers._families import BatchStatisticPenalty, same_features
from keras_penalties.schedules._strength import Strength

FAR = 1e18  # distances, in bandwidths, are clipped to this, whose square fits the dtype


@register
class MMD(BatchStatisticPenalty):
    r"""The squared maximum mean discrepancy between a batch and a standard normal, or between two batches.

    $$\frac{1}{N(N-1)}\sum_{i \ne j} k(x_i, x_j) - \frac{2}{N}\sum_i \mathbb{E}\,k(x_i, y) + c,\qquad
    c = \mathbb{E}\,k(y, y'),\qquad y, y' \sim \mathcal{N}(0, I)$$

    For one tensor, the expectations over the normal distribution are exact, without random samples. For a
    list of two, they are means over the second batch, and \(k(y, y')\) is averaged over pairs of different
    rows. This is the unbiased estimate. For equal distributions it is close to zero, and noise may make it
    **negative**.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`; Wasserstein
            autoencoders use 10.
        kernel: `"rbf"`, \(\exp(-d^2 / 2h^2)\), or `"imq"`, \(1 / (1 + d^2 / 2h^2)\), whose gradient also
            reaches distant rows. Defaults to `"rbf"`.
        bandwidth: the width \(h\) of the kernel, a float > 0, in the units of `x`. For `D` features, start
            with the square root of `D`. Defaults to 1.0.
        axis: the axis of the features. Defaults to the last. Each position is a row.

    Shapes: `x` is `(batch, ..., features)`, or a list of two such tensors, whose batch sizes may differ; the
    result is a float32 scalar without units. With fewer than two rows it is 0.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> penalty = kp.regularizers.MMD(10.0)
    >>> # exp(-1/2) + 3**-0.5 - (1 + exp(-1/4)) / 2**0.5
    >>> value = penalty.measure([[0.0], [1.0]])
    >>> round(float(value), 5)
    -0.07392
    >>> a, b = np.array([[0.0], [1.0]]), np.array([[0.0], [3.0]])
    >>> # exp(-1/2) + exp(-9/2) - 2 * (1 + exp(-9/2) + ...) / 4
    >>> value = penalty.measure([a, b])
    >>> round(float(value), 5)
    -0.25885

    Raises:
        TypeError: if `strength` or `bandwidth` is not a number, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, `kernel` is not one of the values above,
            `bandwidth` is not positive, `axis` is the batch, or two tensors have different numbers of
            features.

    Source: Gretton, Borgwardt, Rasch, Scholkopf and Smola, [A Kernel Two-Sample
    Test](https://www.jmlr.org/papers/v13/gretton12a.html), Journal of Machine Learning Research 13 (2012),
    equation 3. For codes: Tolstikhin, Bousquet, Gelly and Schoelkopf, [Wasserstein
    Auto-Encoders](https://arxiv.org/abs/1711.01558), ICLR 2018, who draw samples of the normal, and whose
    `imq` kernel with \(C = 2D\) is this one with a `bandwidth` of \(\sqrt{D}\).
    """

    tensors = (1, 2)
    paired = False

    def __init__(
        self,
        strength: Strength,
        kernel: Literal["rbf", "imq"] = "rbf",
        bandwidth: float = 1.0,
        axis: int = -1,
    ):
        super().__init__(strength, axis=axis)
        self.kernel = _checks.choice(kernel, "kernel", self._owner, ("rbf", "imq"))
        self.bandwidth = _checks.number(bandwidth, "bandwidth", self._owner, above=0.0)

    def check_shapes(self, shapes: Shapes) -> None:
        same_features(self._owner, shapes, self._features)

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        if isinstance(rows, list):
            within = [self._within(r, w) for r, w in zip(rows, weights, strict=True)]
            shares = weights[0][:, None] * weights[1][None]
            between = ops.sum(shares * self._between(*rows, *weights))
            value = within[0] + within[1] - 2.0 * between
        else:
            weights = [weights]
            value = self._within(rows, weights[0]) + self._to_normal(rows, weights[0])
        enough = [ops.sum(ops.cast(w > 0, "int32")) > 1 for w in weights]
        return ops.where(ops.all(ops.stack(enough)), value, 0)

    def _between(self, a, b, *weights):
        """The kernel of each row of `a` with each of `b`."""
        scaled = distances(a, b, *(w > 0 for w in weights)) / (math.sqrt(2.0) * self.bandwidth)
        scaled = ops.square(ops.where(scaled < FAR, scaled, FAR))
        return ops.exp(-scaled) if self.kernel == "rbf" else 1.0 / (1.0 + scaled)

    def _within(self, rows, weights):
        """The mean of the kernel over all pairs of different rows."""
        kept = ops.cast(weights > 0, rows.dtype)
        count = ops.sum(kept)
        pairs = kept[:, None] * kept[None] * (1.0 - ops.eye(ops.shape(rows)[0], dtype=rows.dtype))
        return ops.sum(pairs * self._between(rows, rows, weights, weights)) / _numerics.at_least_one(
            count * (count - 1.0)
        )

    def _to_normal(self, rows, weights):
        r"""\(E k(y, y') - 2 E k(x, y)\). The imq kernel is a mixture of Gaussian ones over their widths:
        \(1 / (1 + s) = \int_0^\infty e^{-t} e^{-ts} dt\)."""
        h2, d = self.bandwidth**2, rows.shape[-1]
        if self.kernel == "rbf":
            t, share = np.ones(1), np.ones(1)
        else:
            u = np.arange(-45.0, 5.0, 0.25)  # t = exp(u): the trapezoids converge faster than any power
            t = np.exp(u)
            share = 0.25 * t * np.exp(-t)
        of_normal = float(np.sum(share * (h2 / (h2 + 2.0 * t)) ** (d / 2.0)))
        heights = share * (h2 / (h2 + t)) ** (d / 2.0)
        unit = max(self.bandwidth, 1.0)
        slopes = t * unit**2 / (2.0 * (h2 + t))
        sizes = ops.sum(ops.square(rows / unit), axis=1)[:, None]
        heights, slopes = (ops.convert_to_tensor(c[None], dtype=rows.dtype) for c in (heights, slopes))
        to_rows = ops.sum(heights * ops.exp(-slopes * sizes), axis=1)
        return of_normal - 2.0 * ops.sum(weights * to_rows)
