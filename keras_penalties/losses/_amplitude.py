"""Squared errors that give large amplitudes more weight, for targets in which they are rare."""

from functools import partial

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import DType, Reduction, Tensor, Tensors
from keras_penalties.losses._declared import declared
from keras_penalties.losses._loss import FormulaLoss, mean_of_outputs, pair


@register
@declared(rate=partial(_checks.number, at_least=0.0))
def amplitude_weighted_mse(y_true: Tensors, y_pred: Tensors, rate: float = 5.0) -> Tensor:
    """`mean(exp(rate * y_true) * (y_pred - y_true)**2)` over the last axis, as `AmplitudeWeightedMSE`."""
    y_true, y_pred = pair(y_true, y_pred, "amplitude_weighted_mse")
    return mean_of_outputs(ops.exp(rate * y_true) * ops.square(y_pred - y_true))


@register
@declared(gamma=partial(_checks.number, at_least=0.0))
def dual_weighted_mse(y_true: Tensors, y_pred: Tensors, gamma: float = 1.0) -> Tensor:
    """`mean(max(|y_true|, |y_pred|)**gamma * (y_pred - y_true)**2)` over the last axis."""
    y_true, y_pred = pair(y_true, y_pred, "dual_weighted_mse")
    a, b = _numerics.absolute(y_true), _numerics.absolute(y_pred)
    larger = ops.where(a < b, b, a)
    # Where the larger is 0, both are, so the error is 0; a root would have no finite gradient there.
    power = ops.power(_numerics.nonzero(larger), gamma)
    weight = ops.where(larger > 0, power, ops.zeros_like(larger)) if gamma else 1.0
    return mean_of_outputs(weight * ops.square(y_pred - y_true))


@register
class AmplitudeWeightedMSE(FormulaLoss):
    r"""The squared error, weighted by the exponential of the true amplitude.

    $$\operatorname{mean}_i\; e^{r y_i}\,(\hat y_i - y_i)^2$$

    For targets scaled to [0, 1] that are mostly near 0, while the few near 1 matter most: at rate 5, an
    amplitude of 1 has 148 times the weight of 0. It is computed in float32 at least, since in float16 the
    weight overflows at `rate * y = 11.1`.

    Args:
        rate: how fast the weight grows with the amplitude, a finite float >= 0. At 0 this is the MSE.
            Defaults to 5.0.
        reduction: as in Keras; the default is the mean over the batch.
        name: the loss's name.
        dtype: as in Keras.

    Shapes: `y_true` and `y_pred` are `(batch, ..., outputs)`; without reduction, `(batch, ...)`.

    Example:

    >>> import keras_penalties as kp
    >>> loss = kp.losses.AmplitudeWeightedMSE(rate=1.0)
    >>> round(float(loss([[0.0, 1.0]], [[1.0, 0.0]])), 6)  # (1 + e) / 2
    1.859141

    Raises:
        TypeError: if `rate` is not a number.
        ValueError: if `rate` is negative or not finite; if the shapes differ.

    Source: practitioners of precipitation nowcasting use the exponential weight for rare large amplitudes.
    Compare the step-wise weights of Shi et al., [Deep Learning for Precipitation Nowcasting: A Benchmark and
    A New Model](https://arxiv.org/abs/1706.03458), NIPS 2017.
    """

    formula = staticmethod(amplitude_weighted_mse)

    def __init__(
        self,
        rate: float = 5.0,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "amplitude_weighted_mse",
        dtype: DType = None,
    ):
        super().__init__(name, reduction, dtype, rate=rate)


@register
class DualWeightedMSE(FormulaLoss):
    r"""The squared error, weighted by the larger of the true and the predicted amplitude.

    $$\operatorname{mean}_i\; \max(|y_i|, |\hat y_i|)^\gamma\,(\hat y_i - y_i)^2$$

    A missed large amplitude has the same weight as a false one, so false alarms are penalized
    too. The weight is part of the gradient.

    Args:
        gamma: how fast the weight grows with the amplitude, a finite float >= 0. At 0 this is the MSE.
            Defaults to 1.0.
        reduction: as in Keras; the default is the mean over the batch.
        name: the loss's name.
        dtype: as in Keras.

    Shapes: `y_true` and `y_pred` are `(batch, ..., outputs)`; without reduction, `(batch, ...)`.

    Example:

    >>> import keras_penalties as kp
    >>> # (1 * 1 + 4 * 4) / 2
    >>> float(kp.losses.DualWeightedMSE(gamma=2.0)([[0.0, 2.0]], [[1.0, 0.0]]))
    8.5

    Raises:
        TypeError: if `gamma` is not a number.
        ValueError: if `gamma` is negative or not finite; if the shapes differ.

    Source: the two-sided form of `AmplitudeWeightedMSE`. For classes, Lin, Goyal, Girshick, He and Dollar,
    [Focal Loss for Dense Object Detection](https://arxiv.org/abs/1708.02002), ICCV 2017, use a weight that
    depends on labels and predictions.
    """

    formula = staticmethod(dual_weighted_mse)

    def __init__(
        self,
        gamma: float = 1.0,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "dual_weighted_mse",
        dtype: DType = None,
    ):
        super().__init__(name, reduction, dtype, gamma=gamma)
