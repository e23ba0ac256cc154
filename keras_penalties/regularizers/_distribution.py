"""Penalties on rows that are distributions over their features."""

import math

from keras import ops

from keras_penalties import _checks, _logits, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Shapes, Tensor, Tensors
from keras_penalties.regularizers import _tables
from keras_penalties.regularizers._families import BatchStatisticPenalty
from keras_penalties.schedules._strength import Strength

LOGITS = "For logits, set `from_logits=True`."


class MeanOfRows(BatchStatisticPenalty):
    """The mean of `row(rows, kept)`, one value per row, over the rows that a mask keeps.

    `kept` says which features of each row count, or is None. A row without a feature that counts is left out.
    Replicas exchange only sums.
    """

    _formulas = ("value", "statistic", "row")
    _formula_methods = "`row(rows, kept)`"
    masks_elements = True
    _weights_optional = True

    def row(self, rows: Tensors, kept: Tensor = None) -> Tensor:
        raise NotImplementedError

    def value(self, x: Tensors, mask: Tensors) -> Tensor:
        if mask is None or len(mask.shape) < len(x.shape):
            return super().value(x, mask)
        rows, kept = (ops.reshape(t, (-1, x.shape[-1])) for t in (x, mask))
        counted = ops.any(kept, axis=-1)

        def formula(tables):
            (table,) = tables
            features = ops.logical_or(kept, ops.logical_not(counted)[:, None])
            return ops.sum(table.weights * self.row(table.rows, features))

        return self._of_all_rows([rows], [counted], formula)

    def _of_all_rows(self, rows, kept, formula):
        return _tables.mean_of_rows(rows, kept, formula, self._weights_optional)

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        values = self.row(rows)
        return ops.sum(values) / _numerics.count_of(rows) if weights is None else ops.sum(weights * values)


class _OfDistributions(MeanOfRows):
    """A penalty on rows of probabilities, or of logits."""

    def __init__(self, strength: Strength, from_logits: bool = False, axis: int = -1):
        super().__init__(strength, axis=axis)
        self.from_logits = _checks.flag(from_logits, "from_logits", self._owner)

    @property
    def outside_0_and_1(self) -> str | None:
        return None if self.from_logits else LOGITS

    def entropy(self, rows: Tensors, kept: Tensor = None) -> Tensor:
        if self.from_logits:
            return _logits.entropy(_without(rows, kept))
        return -ops.sum(rows * _numerics.log(rows), axis=-1)


@register
class Entropy(_OfDistributions):
    r"""The mean entropy of the rows, which is low if each row puts most of its probability on one feature.

    $$-\frac{1}{N}\sum_n \sum_k q_{nk}\log q_{nk}$$

    Below 1e-7, the logarithm is replaced by its tangent at 1e-7, so value and gradient are finite at 0.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        from_logits: whether `x` holds logits instead of probabilities.
        axis: the axis of the probabilities. Defaults to the last. Each position is a row.

    Shapes: `x` is `(batch, ..., features)`, any float type; the result is a float32 scalar in nats,
    between 0 and the logarithm of the number of features.

    Example:

    >>> import keras_penalties as kp
    >>> value = kp.regularizers.Entropy(0.1).measure([[0.5, 0.5], [1.0, 0.0]])
    >>> round(float(value), 6)  # (log 2 + 0) / 2
    0.346574

    Raises:
        TypeError: if `strength` is not a number, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, `axis` is the batch, or probabilities outside
            [0, 1] are found.

    Source: Grandvalet and Bengio, [Semi-supervised Learning by Entropy
    Minimization](https://papers.nips.cc/paper/2740-semi-supervised-learning-by-entropy-minimization), NIPS
    2004. `Confidence` penalizes the opposite.
    """

    def row(self, rows: Tensors, kept: Tensor = None) -> Tensor:
        return self.entropy(rows, kept)


@register
class Confidence(_OfDistributions):
    r"""How far the rows are from uniform: high if a classifier or an attention is overconfident.

    $$\log K + \frac{1}{N}\sum_n \sum_k q_{nk}\log q_{nk}$$

    It is the mean divergence of the rows from the uniform distribution over the \(K\) features, so it is
    never negative. Below 1e-7, the logarithm is replaced by its tangent at 1e-7.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`; the paper uses 0.1
            to 4.
        from_logits: whether `x` holds logits instead of probabilities.
        axis: the axis of the probabilities. Defaults to the last. Each position is a row.

    Shapes: `x` is `(batch, ..., features)`, any float type; the result is a float32 scalar in nats,
    between 0 and the logarithm of the number of features.

    Example:

    >>> import keras_penalties as kp
    >>> value = kp.regularizers.Confidence(0.1).measure([[0.5, 0.5], [1.0, 0.0]])
    >>> round(float(value), 6)  # log 2 - (log 2 + 0) / 2
    0.346574

    Raises:
        TypeError: if `strength` is not a number, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, `axis` is the batch, or probabilities outside
            [0, 1] are found.

    Source: Pereyra, Tucker, Chorowski, Kaiser and Hinton, [Regularizing Neural Networks by Penalizing
    Confident Output Distributions](https://arxiv.org/abs/1701.06548), ICLR workshop 2017. There it is minus
    the entropy, which is smaller by the constant \(\log K\) and negative; the gradient is the same.
    """

    def row(self, rows: Tensors, kept: Tensor = None) -> Tensor:
        if kept is None:
            most = math.log(rows.shape[-1])
        else:
            most = ops.log(ops.sum(ops.cast(kept, rows.dtype), axis=-1))
        return ops.relu(most - self.entropy(rows, kept))


@register
class ZLoss(MeanOfRows):
    r"""The mean squared log-sum-exp of the rows, which keeps logits small.

    $$\frac{1}{N}\sum_n \left(\log\sum_k e^{x_{nk}}\right)^2$$

    A constant added to all logits of a row does not change their softmax, but large logits lose digits in
    half precision.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`; the paper uses
            0.001.
        axis: the axis of the logits. Defaults to the last. Each position is a row.

    Shapes: `x` is `(batch, ..., features)`, logits of any float type; the result is a float32 scalar.

    Example:

    >>> import keras_penalties as kp
    >>> value = kp.regularizers.ZLoss(0.001).measure([[0.0, 0.0], [1.0, 1.0]])
    >>> round(float(value), 6)  # (0.693147**2 + 1.693147**2) / 2
    1.6736

    Raises:
        TypeError: if `strength` is not a number, or `axis` not an int.
        ValueError: if `strength` is negative or not finite, or `axis` is the batch.

    Source: Zoph et al., [ST-MoE: Designing Stable and Transferable Sparse Expert
    Models](https://arxiv.org/abs/2202.08906), 2022, equation 5, for routers. For output logits: de Brebisson
    and Vincent, [The Z-loss: A Shift and Scale Invariant Classification Loss Belonging to the Spherical
    Family](https://arxiv.org/abs/1604.08859), 2016, and Chowdhery et al., [PaLM: Scaling Language Modeling
    with Pathways](https://arxiv.org/abs/2204.02311), 2022, with a strength of 0.0001.
    """

    def row(self, rows: Tensors, kept: Tensor = None) -> Tensor:
        return ops.square(_logits.logsumexp(_without(rows, kept)))


@register
class LoadBalance(BatchStatisticPenalty):
    r"""How unevenly a router sends its rows to the experts.

    $$E\sum_i f_i P_i$$

    \(E\) is the number of experts, \(f_i\) the share of the rows that have expert \(i\) among their top
    `top_k`, and \(P_i\) the mean probability of expert \(i\). The value is `top_k` if the load is even. It is
    at most \(E\), when all rows go to the same experts. Only \(P\) has a gradient: the choice of an expert
    has none.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`; the paper uses
            0.01.
        top_k: the number of experts that each row is sent to, an int from 1 to the number of experts.
            Defaults to 1.
        from_logits: whether `x` holds the router's logits (the default) or its probabilities.
        axis: the axis of the experts. Defaults to the last. Each position is a row.

    Shapes: `x` is `(batch, ..., experts)`, any float type; the result is a float32 scalar.

    Example:

    >>> import keras_penalties as kp
    >>> penalty = kp.regularizers.LoadBalance(0.01, from_logits=False)
    >>> # 2 * (1 * 0.75 + 0 * 0.25)
    >>> round(float(penalty.measure([[0.75, 0.25], [0.75, 0.25]])), 6)
    1.5
    >>> # 2 * (0.5 * 0.5 + 0.5 * 0.5)
    >>> round(float(penalty.measure([[0.75, 0.25], [0.25, 0.75]])), 6)
    1.0

    Raises:
        TypeError: if `strength` is not a number, or `top_k` or `axis` not an int.
        ValueError: if `strength` is negative or not finite, `top_k` is less than 1 or more than the number of
            experts, `axis` is the batch, or probabilities outside [0, 1] are found.

    Source: Fedus, Zoph and Shazeer, [Switch Transformers: Scaling to Trillion Parameter Models with Simple
    and Efficient Sparsity](https://arxiv.org/abs/2101.03961), Journal of Machine Learning Research 23 (2022),
    equations 4 to 6, for `top_k=1`. With a larger `top_k`, each of a row's choices counts as one, as in the
    code of Mixtral, so the lowest value is `top_k`; other code divides by it.
    """

    _weights_optional = True
    _products = 0

    def __init__(self, strength: Strength, top_k: int = 1, from_logits: bool = True, axis: int = -1):
        super().__init__(strength, axis=axis)
        if type(top_k) is not int:
            raise TypeError(f"`top_k` of LoadBalance must be an int. Received: top_k={top_k!r}.")
        if top_k < 1:
            raise ValueError(f"`top_k` of LoadBalance must be at least 1. Received: top_k={top_k}.")
        self.top_k = top_k
        self.from_logits = _checks.flag(from_logits, "from_logits", self._owner)

    @property
    def outside_0_and_1(self) -> str | None:
        return None if self.from_logits else LOGITS

    def check_shapes(self, shapes: Shapes) -> None:
        (shape,) = shapes
        experts = shape[self._features] if len(shape) > 1 else 1
        if experts is not None and self.top_k > experts:
            raise ValueError(
                f"`top_k` of LoadBalance must be no more than the number of experts. Received: "
                f"top_k={self.top_k} for `x` of shape {shape}."
            )

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        experts = rows.shape[-1]
        q = _logits.softmax(rows) if self.from_logits else rows
        load = top_of_each_row(ops.stop_gradient(rows), self.top_k)
        of_each = _numerics.shares(rows, weights)
        shares, probability = (_numerics.weighted_sum(t, of_each) for t in (load, q))
        return experts * ops.sum(ops.stop_gradient(shares) * probability)


def _without(logits, kept):
    """`logits`, with the lowest number where `kept` is False, so that a softmax ignores them."""
    return logits if kept is None else ops.where(kept, logits, _numerics.constant(_logits.LOWEST, logits))


def top_of_each_row(rows, k):
    """Ones for the `k` largest entries of each row (of equal entries, the first), and zeros for the others.

    `ops.top_k` is not used: on several JAX devices, XLA would send all rows to each device.
    """
    chosen = zeros = ops.zeros_like(rows)
    left = ops.where(rows > -1e38, rows, zeros - 1e38)  # above those that are chosen
    for _ in range(k):
        largest = ops.one_hot(ops.argmax(left, axis=-1), rows.shape[-1], dtype=rows.dtype)
        left, chosen = ops.where(largest > 0, zeros - math.inf, left), chosen + largest
    return chosen
