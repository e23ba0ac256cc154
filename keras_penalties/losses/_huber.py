"""Huber's loss with a threshold."""

from functools import partial

import keras

from keras_penalties import _checks
from keras_penalties._serialization import register
from keras_penalties._types import DType, Reduction, Tensor, Tensors
from keras_penalties.losses._declared import declared
from keras_penalties.losses._loss import FormulaLoss, pair


@register
@declared(threshold=partial(_checks.number, above=0.0))
def huber(y_true: Tensors, y_pred: Tensors, threshold: float = 1.0) -> Tensor:
    """Huber's loss, the mean over the last axis: one value per row, as `Huber`."""
    y_true, y_pred = pair(y_true, y_pred, "huber")
    return keras.losses.huber(y_true, y_pred, delta=threshold)


@register
class Huber(FormulaLoss):
    r"""Squared error up to a threshold, and linear beyond it.

    $$\operatorname{mean}_i \begin{cases}\tfrac12 e_i^2 & |e_i| \le t\\ t\,|e_i| - \tfrac12 t^2 &
    |e_i| > t\end{cases},\qquad e = y - \hat y$$

    Args:
        threshold: where the loss becomes linear, a finite float > 0, in the units of the labels.
            Defaults to 1.0.
        reduction: as in Keras; the default is the mean over the batch.
        name: the loss's name.
        dtype: as in Keras.

    Shapes: `y_true` and `y_pred` are `(batch, ..., outputs)`; without reduction, `(batch, ...)`.

    Example:

    >>> import keras_penalties as kp
    >>> # (0.375 + 0.125) / 2
    >>> float(kp.losses.Huber(threshold=0.5)([[0.0, 0.0]], [[1.0, 0.5]]))
    0.25

    Raises:
        TypeError: if `threshold` is not a number.
        ValueError: if `threshold` is not positive; if the shapes differ.

    Source: Huber, [Robust Estimation of a Location Parameter](https://doi.org/10.1214/aoms/1177703732),
    Annals of Mathematical Statistics 35 (1964). This is `keras.losses.Huber` with `delta` under the name that
    people search for. Arguments are checked, and as a function in half precision it sums in float32.
    """

    formula = staticmethod(huber)

    def __init__(
        self,
        threshold: float = 1.0,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "huber",
        dtype: DType = None,
    ):
        super().__init__(name, reduction, dtype, threshold=threshold)
