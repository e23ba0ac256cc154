"""How close each row is to its nearest neighbour in direction."""

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Tensor, Tensors
from keras_penalties.regularizers._families import BatchStatisticPenalty
from keras_penalties.schedules._strength import Strength

FAR = -1e30  # lower than the closeness of any two rows


@register
class KoLeo(BatchStatisticPenalty):
    r"""Minus the mean logarithm of the distance of each row to its nearest neighbour, on the unit sphere.

    $$-\frac{1}{N}\sum_n \log\left(\epsilon + \min_{m \ne n}
    \left\lVert \frac{x_n}{\lVert x_n\rVert} - \frac{x_m}{\lVert x_m\rVert}\right\rVert\right)$$

    It spreads the directions of the rows evenly, so they do not collapse. The gradient is largest for the
    closest rows. The value may be **negative**: the largest distance is 2, so the lowest value is
    \(-\log(2 + \epsilon)\).

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`; DINOv2 uses 0.1.
        eps: \(\epsilon\), a finite float > 0, which bounds the value for equal rows. Defaults to 1e-8.
        axis: the axis of the features. Defaults to the last. Each position is a row.

    Shapes: `x` is `(batch, ..., features)`, any float type and rows of any length; the result is a float32
    scalar, the logarithm of a distance. Rows whose directions are equal apart from rounding have the distance
    0: each adds \(-\log\epsilon\), with gradient 0, since no direction leads away from the other row. A row
    of zeros has no direction, and gradient 0. A single row has no neighbour, so the value is 0.

    Memory: a rows-by-rows matrix. The nearest neighbour is found by products of rows, and its distance is
    computed from differences.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> # each 2**0.5 from its nearest in direction
    >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    >>> round(float(kp.regularizers.KoLeo(0.1).measure(x)), 6)  # -log(2**0.5)
    -0.346574
    >>> # -log(1e-8)
    >>> round(float(kp.regularizers.KoLeo(0.1).measure([[1.0, 1.0], [2.0, 2.0]])), 5)
    18.42068

    Raises:
        TypeError: if `strength` or `eps` is not a number, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, `eps` is not positive, or `axis` is the batch.

    Source: Sablayrolles, Douze, Schmid and Jegou, [Spreading Vectors for Similarity
    Search](https://arxiv.org/abs/1806.03198), ICLR 2019, equation 2, with the \(\epsilon\) of Oquab et al.,
    [DINOv2: Learning Robust Visual Features without Supervision](https://arxiv.org/abs/2304.07193), 2023.
    Their code also adds it to each difference, and takes only neighbours on the same device. lightly's
    `KoLeoLoss` is that code.
    """

    def __init__(self, strength: Strength, eps: float = 1e-8, axis: int = -1):
        super().__init__(strength, axis=axis)
        self.eps = _checks.number(eps, "eps", self._owner, above=0.0)

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        if rows.shape[0] == 0:  # there is no nearest row
            return ops.sum(rows)
        units = _numerics.unit(rows)
        # Shifting all rows does not change distances, and rows that are close together keep more digits.
        moved = ops.stop_gradient(units - _numerics.weighted_mean(units, weights))
        closeness = moved @ ops.transpose(moved) - 0.5 * ops.sum(ops.square(moved), axis=-1)[None]
        index = ops.arange(ops.shape(rows)[0], dtype="int32")
        others = (weights > 0)[None] & ops.not_equal(index[:, None], index[None])
        nearest = ops.argmax(ops.where(others, closeness, _numerics.constant(FAR, rows)), axis=-1)
        distances = _numerics.distance_of_units(units, ops.take(units, nearest, axis=0))
        values = ops.where(ops.any(others, axis=-1), -ops.log(distances + self.eps), 0)
        return ops.sum(weights * values)
