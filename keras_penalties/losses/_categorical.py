"""The cross-entropy between labels and predicted probabilities, computed as the formula is written."""

from functools import partial

from keras import ops

from keras_penalties import _checks
from keras_penalties._keras.masks import set_keras_mask
from keras_penalties._serialization import register
from keras_penalties._types import DType, Reduction, Tensor, Tensors
from keras_penalties.losses._declared import declared
from keras_penalties.losses._loss import ONE_HOT, FormulaLoss, pair, probabilities

FLOOR = 1e-7


def _class_or_none(value, argument, owner):
    return None if value is None else _checks.whole(value, argument, owner, at_least=0)


@register
@declared(
    probabilities,
    from_logits=_checks.flag,
    label_smoothing=partial(_checks.number, at_least=0.0, at_most=1.0),
    ignore_class=_class_or_none,
    axis=partial(_checks.whole, at_least=None),
)
def categorical_crossentropy(
    y_true: Tensors,
    y_pred: Tensors,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    """`-sum(y_true * log(y_pred))` over the classes: one value per row, as `CategoricalCrossentropy`."""
    owner = "categorical_crossentropy"
    y_true, y_pred = pair(y_true, y_pred, owner, ONE_HOT)
    _check_classes(tuple(y_pred.shape), axis, ignore_class, owner)
    valid = None if ignore_class is None else ops.not_equal(ops.argmax(y_true, axis=axis), ignore_class)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / y_true.shape[axis]
    if from_logits:
        log_q = ops.log_softmax(y_pred, axis=axis)
    else:
        log_q = ops.log(ops.where(y_pred <= FLOOR, ops.zeros_like(y_pred) + FLOOR, y_pred))
    # The term of a label 0 is 0, even if the logarithm is infinite.
    terms = ops.where(
        y_true == 0, ops.zeros_like(log_q), y_true * ops.where(y_true == 0, 0.0 * y_true, log_q)
    )
    values = -ops.sum(terms, axis=axis)
    if valid is not None:
        values = ops.where(valid, values, ops.zeros_like(values))
        set_keras_mask(values, valid)
    return values


@register
class CategoricalCrossentropy(FormulaLoss):
    r"""The cross-entropy of one-hot or soft labels and predicted probabilities.

    $$-\sum_k y_k \log q_k,\qquad 0\log 0 = 0$$

    If the probability of a label is below 1e-7, its logarithm is replaced by `log 1e-7 = -16.118`, so the
    loss stays finite; its gradient is zero there. Logits have no such floor.

    Args:
        from_logits: whether `y_pred` contains logits instead of probabilities. Defaults to False.
        label_smoothing: the share of each label that is spread over all classes, in [0, 1]. Defaults to 0.0.
        ignore_class: a class whose rows count neither in the sum nor in the mean, or None.
        axis: the axis of the classes. Defaults to -1.
        reduction: as in Keras; the default is the mean over the batch.
        name: the loss's name.
        dtype: as in Keras.

    Shapes: `y_true` and `y_pred` are `(batch, ..., classes)`; without reduction, `(batch, ...)`. In nats.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> y = np.eye(5)[[4, 1]]
    >>> q = np.array([[0, 0.7, 0, 0, 0.3], [0, 0.6, 0.3, 0, 0.1]])
    >>> # -(log 0.3 + log 0.6) / 2
    >>> round(float(kp.losses.CategoricalCrossentropy()(y, q)), 6)
    0.857399

    Raises:
        TypeError: if `from_logits` is not a bool, `label_smoothing` not a number, or `ignore_class` or
            `axis` not an int.
        ValueError: if the shapes differ; if labels or probabilities outside [0, 1] are found; if
            `label_smoothing` is outside [0, 1]; if `ignore_class` or `axis` does not exist.

    Source: Good, [Rational Decisions](https://doi.org/10.1111/j.2517-6161.1952.tb00104.x), Journal of the
    Royal Statistical Society B 14 (1952). `keras.losses.CategoricalCrossentropy` first divides the
    probabilities by their sum, and also clips them from above. The two agree for rows that sum to one.
    """

    formula = staticmethod(categorical_crossentropy)

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "categorical_crossentropy",
        dtype: DType = None,
    ):
        arguments = {"from_logits": from_logits, "label_smoothing": label_smoothing}
        super().__init__(name, reduction, dtype, **arguments, ignore_class=ignore_class, axis=axis)


def _check_classes(shape, axis, ignore_class, owner):
    if not -len(shape) <= axis < len(shape):
        raise ValueError(
            f"`axis` of {owner} must be an axis of `y_pred`, that of the classes. "
            f"Received: axis={axis} for `y_pred` of shape {shape}."
        )
    classes = shape[axis]
    if ignore_class is not None and classes is not None and ignore_class >= classes:
        raise ValueError(
            f"`ignore_class` of {owner} must be one of the {classes} classes, numbered from 0. Received: "
            f"ignore_class={ignore_class}."
        )
