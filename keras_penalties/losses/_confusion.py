"""Losses that a classifier lowers by giving wrong answers."""

import keras
from keras import ops

from keras_penalties import _checks, _logits, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import DType, Reduction, Tensor, Tensors
from keras_penalties.losses._declared import declared
from keras_penalties.losses._loss import ONE_HOT, FormulaLoss, pair, probabilities


@register
@declared(probabilities, from_logits=_checks.flag)
def confusion(y_true: Tensors, y_pred: Tensors, from_logits: bool = False) -> Tensor:
    """The probability of the right answer, `sum(y_true * y_pred)`: one value per row, as `Confusion`."""
    y_true, y_pred = pair(y_true, y_pred, "confusion", ONE_HOT)
    q = _logits.softmax(y_pred) if from_logits else y_pred
    return ops.sum(y_true * q, axis=-1)


@register
@declared(probabilities, from_logits=_checks.flag)
def log_confusion(y_true: Tensors, y_pred: Tensors, from_logits: bool = False) -> Tensor:
    """`-sum(y_true * log(1 - y_pred))` over the classes: one value per row, as `LogConfusion`."""
    half = keras.backend.standardize_dtype(getattr(y_pred, "dtype", "float32")) == "float16"
    y_true, y_pred = pair(y_true, y_pred, "log_confusion", ONE_HOT)
    if from_logits:
        # 1 - q_k is the sigmoid of how far the log-sum-exp of the other classes is above z_k.
        z, _ = _logits.below_largest(y_pred)
        own = ops.eye(y_pred.shape[-1], dtype="bool")
        others = ops.where(own, _numerics.constant(_logits.LOWEST, z), z[..., None, :])
        minus_log_rest = ops.softplus(z - _logits.logsumexp(others))
    else:
        minus_log_rest = -_numerics.log(1.0 - y_pred, edge=1e-4 if half else 1e-7)
    return ops.sum(y_true * minus_log_rest, axis=-1)


@register
class Confusion(FormulaLoss):
    r"""The probability that the classifier gives the right answer.

    $$\sum_k p_k q_k$$

    Minimizing it makes a classifier useless on its input. It is between 0 and 1, and its gradient vanishes
    once the classifier is useless.

    Args:
        from_logits: whether `y_pred` contains logits instead of probabilities. Defaults to False.
        reduction: as in Keras; the default is the mean over the batch.
        name: the loss's name.
        dtype: as in Keras.

    Shapes: `y_true` and `y_pred` are `(batch, ..., classes)`; without reduction, `(batch, ...)`.

    Example:

    >>> import keras_penalties as kp
    >>> float(kp.losses.Confusion()([[0.0, 1.0]], [[0.25, 0.75]]))
    0.75

    Raises:
        TypeError: if `from_logits` is not a bool.
        ValueError: if the shapes differ; if labels or probabilities outside [0, 1] are found.

    Source: the raw-input term of Chen and Wu, Protect Your Deep Neural Networks from Piracy, WIFS 2018. The
    negative cross-entropy, which is often used instead, has no lower bound, so training diverges.
    """

    formula = staticmethod(confusion)

    def __init__(
        self,
        from_logits: bool = False,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "confusion",
        dtype: DType = None,
    ):
        super().__init__(name, reduction, dtype, from_logits=from_logits)


@register
class LogConfusion(FormulaLoss):
    r"""Minus the logarithm of the probability that the classifier does not give the right answer.

    $$-\sum_k p_k \log(1 - q_k)$$

    Its gradient grows with the confidence of the classifier. Where \(1 - q_k\) is below 1e-7 (1e-4 in
    float16, which cannot represent a steeper gradient), the logarithm is continued by its tangent, so value
    and gradient are finite at \(q_k = 1\); logits need no such limit.

    Args:
        from_logits: whether `y_pred` contains logits instead of probabilities. Defaults to False.
        reduction: as in Keras; the default is the mean over the batch.
        name: the loss's name.
        dtype: as in Keras.

    Shapes: `y_true` and `y_pred` are `(batch, ..., classes)`; without reduction, `(batch, ...)`. In nats.

    Example:

    >>> import keras_penalties as kp
    >>> # -log 0.25
    >>> round(float(kp.losses.LogConfusion()([[0.0, 1.0]], [[0.25, 0.75]])), 6)
    1.386294

    Raises:
        TypeError: if `from_logits` is not a bool.
        ValueError: if the shapes differ; if labels or probabilities outside [0, 1] are found.

    Source: the complement of the cross-entropy, as the non-saturating counterpart of `Confusion`. Goodfellow
    et al., [Generative Adversarial Nets](https://arxiv.org/abs/1406.2661), NIPS 2014, discuss the two for
    generators.
    """

    formula = staticmethod(log_confusion)

    def __init__(
        self,
        from_logits: bool = False,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "log_confusion",
        dtype: DType = None,
    ):
        super().__init__(name, reduction, dtype, from_logits=from_logits)
