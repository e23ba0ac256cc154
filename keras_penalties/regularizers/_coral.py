"""How much the covariances of two batches differ."""

from keras_penalties import _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Shapes, Tensor, Tensors
from keras_penalties.regularizers import _gram
from keras_penalties.regularizers._decorrelation import unbiased
from keras_penalties.regularizers._families import BatchStatisticPenalty, same_features


@register
class CORAL(BatchStatisticPenalty):
    r"""The squared difference between the covariances of two batches of features.

    $$\frac{1}{4D^2}\lVert C_a - C_b\rVert_F^2,\qquad
    C_{ij} = \frac{1}{N - 1}\sum_n (x_{ni} - \mu_i)(x_{nj} - \mu_j)$$

    For two domains whose features should be similar, such as labelled and unlabelled images. With fewer rows
    than features, no features-by-features covariance is computed.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        axis: the axis of the features. Defaults to the last. Each position is a row.

    Shapes: a list of two tensors `(batch, ..., features)`, any float type; their batch sizes may differ. The
    result is a float32 scalar in the fourth power of their units. The covariance of a single row is 0.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> a, b = np.array([[1.0, 2.0], [3.0, 6.0]]), np.zeros((3, 2))
    >>> # C_a = [[2, 4], [4, 8]]: 100 / (4 * 2**2)
    >>> float(kp.regularizers.CORAL(1.0).measure([a, b]))
    6.25

    Raises:
        TypeError: if `strength` is not a number, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, `axis` is the batch, or the tensors have
            different numbers of features.

    Source: Sun and Saenko, [Deep CORAL: Correlation Alignment for Deep Domain
    Adaptation](https://arxiv.org/abs/1607.01719), ECCV workshop 2016, equations 1 to 3. Widely used ports
    omit the division by \(4D^2\), or the 4 in it.
    """

    tensors = 2
    paired = False
    _weights_optional = True
    _products = 1

    def check_shapes(self, shapes: Shapes) -> None:
        same_features(self._owner, shapes, self._features)

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        a, b = (_numerics.centered(r, w) for r, w in zip(rows, weights, strict=True))
        of_a, of_b = (unbiased(r, w) for r, w in zip(rows, weights, strict=True))
        return _gram.squares([a, b], [of_a, -of_b], diagonal=True) / (4.0 * a.shape[-1] ** 2)
