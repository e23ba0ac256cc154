"""The divergence of a Gaussian code from the standard normal."""

import math
from typing import Any

import keras
from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._keras import replicas, sizes
from keras_penalties._serialization import register
from keras_penalties._types import Shapes, Tensor, Tensors
from keras_penalties.regularizers._families import common_mask, same_shape
from keras_penalties.regularizers._penalty import Penalty
from keras_penalties.schedules._strength import Strength


@register
class GaussianKL(Penalty):
    r"""The divergence of a diagonal Gaussian code from the standard normal.

    $$\sum_j \max\left(\lambda,\; K_j\right),\qquad
    K_j = \frac{1}{N}\sum_n \tfrac12\left(\mu_{nj}^2 + e^{v_{nj}} - 1 - v_{nj}\right)$$

    With a capacity \(C\), it is the absolute difference between that sum and \(C\). \(\mu\) are the means and
    \(v\) the logarithms of the variances, the two outputs of the encoder of a variational autoencoder.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`. It is the
            \(\beta\) of a beta-VAE.
        free_bits: the divergence \(\lambda\), in nats, below which a feature has no gradient, a float >= 0.
            Defaults to 0.0.
        capacity: the divergence \(C\) to aim at, in nats, a float >= 0. None aims at 0.

    Shapes: a list of the means and the log variances, both `(batch, ..., features)`, any float type; the
    divergences of positions are summed. The result is a float32 scalar in nats.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> mean, log_var = np.array([[1.0, 0.0], [1.0, 0.0]]), np.zeros((2, 2))
    >>> float(kp.regularizers.GaussianKL(1.0).measure([mean, log_var]))  # 0.5 * 1**2 + 0
    0.5
    >>> float(kp.regularizers.GaussianKL(1.0, free_bits=0.25).measure([mean, log_var]))
    0.75
    >>> # |0.5 - 2|
    >>> float(kp.regularizers.GaussianKL(1.0, capacity=2.0).measure([mean, log_var]))
    1.5

    Raises:
        TypeError: if `strength`, `free_bits` or `capacity` is not a number.
        ValueError: if one of them is negative or not finite, or the two tensors differ in shape.

    Source: Kingma and Welling, [Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114), ICLR 2014,
    appendix B. Free bits: Kingma et al., [Improved Variational Inference with Inverse Autoregressive
    Flow](https://arxiv.org/abs/1606.04934), NIPS 2016, appendix C.8, which also takes the maximum of the mean
    over the batch, not of each example's term. Capacity: Burgess et al., [Understanding Disentangling in
    beta-VAE](https://arxiv.org/abs/1804.03599), 2018.
    """

    tensors = 2
    masks_elements = True

    def __init__(self, strength: Strength, free_bits: float = 0.0, capacity: Any = None):
        super().__init__(strength)
        self.free_bits = _checks.number(free_bits, "free_bits", self._owner, at_least=0.0)
        self.capacity = capacity
        if capacity is not None:
            self.capacity = _checks.number(capacity, "capacity", self._owner, at_least=0.0)

    def check_shapes(self, shapes: Shapes) -> None:
        same_shape(self._owner, shapes)

    def value(self, x: Tensors, mask: Tensors) -> Tensor:
        mask = common_mask(mask)
        mean, log_variance = (_numerics.keep(t, mask) for t in x)  # zeros, whose divergence is 0
        elements = 0.5 * (ops.square(mean) + _beyond_the_tangent(log_variance))
        if mask is None:
            examples = ops.cast(sizes.size(mean), elements.dtype)
        else:
            kept = _numerics.sum_examples(ops.cast(mask, elements.dtype)) > 0
            examples = ops.sum(ops.cast(kept, elements.dtype))
        sums = ops.sum(elements, axis=tuple(range(len(elements.shape) - 1)))
        count = replicas.sum_over_replicas(examples)
        of_features = replicas.sum_over_replicas(sums, same_use=True) / _numerics.at_least_one(count)
        total = ops.sum(ops.where(of_features > self.free_bits, of_features, self.free_bits))
        if self.capacity is not None:
            total = _numerics.absolute(total - self.capacity)
        return replicas.same_on_all(ops.where(count > 0, total, 0))


def _beyond_the_tangent(v):
    """`exp(v) - 1 - v`, computed from its series where the difference would lose digits."""
    bound, terms = (1 / 16, 9) if keras.backend.standardize_dtype(v.dtype) == "float64" else (1 / 32, 4)
    near = ops.abs(v) < bound
    small, series = ops.where(near, v, 0), 1.0 / math.factorial(terms)
    for k in range(terms - 1, 1, -1):
        series = 1.0 / math.factorial(k) + small * series
    return ops.where(near, ops.square(small) * series, ops.expm1(v) - v)
