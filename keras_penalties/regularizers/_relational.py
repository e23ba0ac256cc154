"""Distances and angles between the rows of a batch, for a student and its teacher."""

from typing import Any

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Tensors
from keras_penalties.regularizers._families import BatchStatisticPenalty
from keras_penalties.schedules._strength import Strength


@register
class RelationalKD(BatchStatisticPenalty):
    r"""How much the distances and angles between the rows of a student differ from those of its teacher.

    $$\lambda_d\,L_d + \lambda_a\,L_a,\qquad
    L_d = \operatorname{mean}_{i \ne j}\, h\left(\frac{\lVert s_i - s_j\rVert}{\mu_s}
    - \frac{\lVert t_i - t_j\rVert}{\mu_t}\right),\qquad
    L_a = \operatorname{mean}_{i, j, k}\, h(\cos\angle s_i s_j s_k - \cos\angle t_i t_j t_k)$$

    \(\mu\) is the mean distance between two different rows of its tensor. \(h(d)\) is Huber's \(d^2/2\), or
    \(|d| - 1/2\) for \(|d| > 1\). The angles are those at \(j\) in all triangles of three different rows. The
    second tensor is the teacher's, and gets no gradient. The two may have different numbers of features. The
    logs show the two terms separately, as `<key>_distance` and `<key>_angle`.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`. With the default
            weights, the authors use 1 for embeddings and 25 for classifiers.
        distance: the weight \(\lambda_d\) of the distances, a float >= 0. Defaults to 1.0.
        angle: the weight \(\lambda_a\) of the angles, a float >= 0. Defaults to 2.0.
        axis: the axis of the features. Defaults to the last. Each position is a row.

    Shapes: a list of the student's tensor and the teacher's, both `(batch, ..., features)`, any float type,
    with the same shape except for the features; row `n` of one belongs to row `n` of the other. The result is
    a float32 scalar without units. The distance term is 0 for fewer than two rows, and the angle term for
    fewer than three. The angle at a row that equals another has the cosine 0, with gradient 0.

    Memory: `N` rows of `D` features need arrays of `N * N * D` numbers, and, unless `angle` is 0, of
    `N * N * N` numbers: 67 MB each for 256 rows. Pool positions first, so that each row is an example.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> # on a line: distances 1, 1, 2, with the mean 4/3
    >>> student = np.array([[0.0], [1.0], [2.0]])
    >>> teacher = np.array([[0.0], [2.0], [4.0]])  # the same at another scale
    >>> float(kp.regularizers.RelationalKD(1.0).measure([student, teacher]))
    0.0
    >>> # a corner: 1, 1, 2**0.5, mean 1.1381
    >>> teacher = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    >>> distances = kp.regularizers.RelationalKD(1.0, angle=0.0)
    >>> value = distances.measure([student, teacher])
    >>> round(float(value), 5)  # (2 * (0.75 - 0.87868)**2 + (1.5 - 1.24264)**2) / 2 / 3
    0.01656
    >>> angles = kp.regularizers.RelationalKD(1.0, distance=0.0, angle=1.0)
    >>> value = angles.measure([student, teacher])
    >>> # cosines 1, -1, 1 and 0.5**0.5, 0, 0.5**0.5: (0.0429 + 0.5 + 0.0429) / 3
    >>> round(float(value), 5)
    0.19526

    Raises:
        TypeError: if `strength` or a weight is not a number, or `axis` not an int.
        ValueError: if `strength` or a weight is negative or not finite, `axis` is the batch, or the shapes
            differ apart from the features.

    Source: Park, Kim, Lu and Cho, [Relational Knowledge Distillation](https://arxiv.org/abs/1904.05068), CVPR
    2019, equations 4 to 9, as means: the paper sums over pairs and triplets. The authors' code takes means
    that also count each row with itself, so its distance term is `(N - 1) / N` of the one here, and its angle
    term `(N - 1) * (N - 2) / N**2`. torchdistill's `RKDLoss` has that code.
    """

    tensors = 2
    parts = ("distance", "angle")

    def __init__(self, strength: Strength, distance: float = 1.0, angle: float = 2.0, axis: int = -1):
        super().__init__(strength, axis=axis)
        self.distance = _checks.number(distance, "distance", self._owner, at_least=0.0)
        self.angle = _checks.number(angle, "angle", self._owner, at_least=0.0)

    def statistic(self, rows: Tensors, weights: Tensors) -> Any:
        # The formula does not depend on the scale of either tensor, but squares of extreme numbers overflow.
        rows = [
            r / _numerics.scale(_numerics.largest(r, (0, 1))) for r in (rows[0], ops.stop_gradient(rows[1]))
        ]
        kept = ops.cast(weights[0] > 0, rows[0].dtype)
        pairs = kept[:, None] * kept[None] * (1.0 - ops.eye(ops.shape(rows[0])[0], dtype=rows[0].dtype))
        apart = [r[None] - r[:, None] for r in rows]
        values = dict.fromkeys(self.parts, ops.sum(0.0 * pairs))
        if self.distance:
            student, teacher = (_distances(d, pairs) for d in apart)
            values["distance"] = self.distance * _mean_huber(student, teacher, pairs)
        if self.angle:
            student, teacher = (_cosines(d) for d in apart)
            triplets = pairs[:, :, None] * pairs[:, None] * pairs[None]
            values["angle"] = self.angle * _mean_huber(student, teacher, triplets)
        return values


def _distances(apart, pairs):
    """The distances between rows, divided by their mean over pairs of different rows."""
    distances = _numerics.sqrt(ops.sum(ops.square(apart), axis=-1))
    mean = ops.sum(distances * (pairs / _numerics.at_least_one(ops.sum(pairs))))
    return distances / _numerics.nonzero(mean)


def _cosines(apart):
    """The cosine of the angle at row `j` of the triangle with rows `i` and `k`, at `[j, i, k]`."""
    directions = _numerics.unit(apart)
    return directions @ ops.transpose(directions, (0, 2, 1))


def _mean_huber(student, teacher, counted):
    """The mean of Huber's loss over the entries where `counted` is 1."""
    difference = student - teacher
    bounded = _numerics.clip(difference, -1.0, 1.0)
    values = bounded * (difference - 0.5 * bounded)
    return ops.sum(counted * values) / _numerics.at_least_one(ops.sum(counted))
