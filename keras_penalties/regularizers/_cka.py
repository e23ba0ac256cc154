"""How similar the representations of a batch in two layers are."""

from typing import Literal

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._keras import sizes
from keras_penalties._serialization import register
from keras_penalties._types import Tensor, Tensors
from keras_penalties.regularizers import _gram
from keras_penalties.regularizers._families import BatchStatisticPenalty
from keras_penalties.schedules._strength import Strength


@register
class CKA(BatchStatisticPenalty):
    r"""One minus the linear centered kernel alignment of two tensors.

    $$1 - \frac{\lVert B^\top A\rVert_F^2}{\lVert A^\top A\rVert_F\,\lVert B^\top B\rVert_F}$$

    \(A\) and \(B\) are the two tables of rows, each feature minus its mean. The value is 0 if the rows of one
    tensor are those of the other, rotated, mirrored, shifted or scaled. It is 1 if no feature of one varies
    with a feature of the other. The two may have different numbers of features. With few rows and many
    features, the same number is computed from the Gram matrices of the rows, without a features-by-features
    matrix.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        detach: the tensor that gets no gradient: `"first"`, `"second"` (a fixed target, such as a teacher),
            or None.
        axis: the axis of the features. Defaults to the last. Each position is a row.

    Shapes: a list of two tensors `(batch, ..., features)`, any float type, with the same shape except for the
    features; row `n` of one belongs to row `n` of the other. The result is a float32 scalar without units,
    between 0 and 1. If all rows of a tensor are equal, or there is only one row, the value is 1, with
    gradient 0.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> a = np.array([[1.0], [-1.0], [0.0]])
    >>> b = np.array([[2.0, 1.0], [-2.0, 1.0], [0.0, -2.0]])
    >>> # B'A = (4, 0), A'A = 2, B'B = diag(8, 6)
    >>> value = kp.regularizers.CKA(1.0).measure([a, b])
    >>> round(float(value), 6)  # 1 - 16 / (2 * 10)
    0.2
    >>> round(float(kp.regularizers.CKA(1.0).measure([a, 5.0 - 3.0 * a])), 6)
    0.0

    Raises:
        TypeError: if `strength` is not a number, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, `detach` is not one of the values above, `axis`
            is the batch, or the shapes differ apart from the features.

    Source: Kornblith, Norouzi, Lee and Hinton, [Similarity of Neural Network Representations
    Revisited](https://arxiv.org/abs/1905.00414), ICML 2019, section 3, with linear kernels. This is the
    biased estimate, as in the authors' `feature_space_linear_cka`: with few rows and many features, it finds
    layers more similar than they are. Their `debiased=True` corrects that, but may be negative, and is not
    offered here.
    """

    tensors = 2
    _weights_optional = True

    def __init__(self, strength: Strength, detach: Literal["first", "second"] | None = None, axis: int = -1):
        super().__init__(strength, axis=axis)
        self.detach = detach
        if detach is not None:
            self.detach = _checks.choice(detach, "detach", self._owner, ("first", "second"))

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        a, b = (_centered(r, w) for r, w in zip(rows, weights, strict=True))
        if self.detach == "first":
            a = ops.stop_gradient(a)
        if self.detach == "second":
            b = ops.stop_gradient(b)

        def by_features():
            products = (ops.transpose(p) @ q for p, q in ((a, b), (a, a), (b, b)))
            return ops.stack([ops.sum(ops.square(product)) for product in products])

        def by_rows():
            of_a, of_b = (x @ ops.transpose(x) for x in (a, b))
            return ops.stack([ops.sum(p * q) for p, q in ((of_a, of_b), (of_a, of_a), (of_b, of_b))])

        m, n = a.shape[-1], b.shape[-1]
        width = (m * m + n * n + m * n) / (m + n)  # at this width, both ways cost the same
        squares = _gram.cheaper(sizes.size(a), int(2 * width), by_rows, by_features)
        own = _numerics.inverse(_numerics.sqrt(squares[1])) * _numerics.inverse(_numerics.sqrt(squares[2]))
        value = 1.0 - squares[0] * own
        # For similar tensors, rounding may make it negative. The gradient does not change.
        return value + ops.stop_gradient(ops.relu(value) - value)


def _centered(rows, weights):
    """Columns minus their mean, all scaled so that fourth powers can be summed. Columns that are constant
    apart from rounding become zeros."""
    columns = _numerics.centered(rows, weights)
    columns = ops.where(_numerics.largest(columns, 0) > 1e-6 * _numerics.largest(rows, 0), columns, 0)
    size = _numerics.largest(columns, (0, 1))
    return columns / ops.where(size > 1e-36, size / 8.0, 1)
