"""Contrastive loss of the distance of a pair."""

from functools import partial

from keras import ops

from keras_penalties import _checks
from keras_penalties._serialization import register
from keras_penalties._types import DType, Reduction, Tensor, Tensors
from keras_penalties.losses._declared import declared
from keras_penalties.losses._loss import FormulaLoss, mean_of_outputs, pair


def _pairs_and_distances(y_true, y_pred, owner, **_):
    _checks.unit_interval(y_true, "y_true", owner, "1 is a similar pair, 0 is not.")
    if y_pred.min() < 0:
        raise ValueError(
            f"`y_pred` of {owner} must be distances, which are not negative. Received values from "
            f"{y_pred.min():g}. End the model in `keras_penalties.layers.EuclideanDistance`."
        )


@register
@declared(_pairs_and_distances, margin=partial(_checks.number, above=0.0))
def contrastive(y_true: Tensors, y_pred: Tensors, margin: float = 1.0) -> Tensor:
    """Contrastive loss of distances, the mean over the last axis: one value per pair, as `Contrastive`."""
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    if len(y_true.shape) == len(y_pred.shape) - 1:
        y_true = y_true[..., None]
    y_true, distance = pair(y_true, y_pred, "contrastive")
    short = ops.relu(margin - distance)
    values = y_true * ops.square(distance) + (1.0 - y_true) * ops.square(short)
    return mean_of_outputs(values)


@register
class Contrastive(FormulaLoss):
    r"""Pulls similar pairs together, and pushes others apart, up to a margin.

    $$Y D^2 + (1 - Y)\max(m - D, 0)^2,\qquad Y = 1 \text{ for a similar pair}$$

    Args:
        margin: the distance beyond which a different pair has no loss, a finite float > 0. Defaults to 1.0.
        reduction: as in Keras; the default is the mean over the batch.
        name: the loss's name.
        dtype: as in Keras.

    Shapes: `y_true` is `(batch,)` or `(batch, 1)`, between 0 and 1; `y_pred` is the distance, `(batch,)`
    or `(batch, 1)`, as `models.Siamese` and `layers.EuclideanDistance` return it.

    Example:

    >>> import keras_penalties as kp
    >>> # (9 + 1.5**2) / 2
    >>> float(kp.losses.Contrastive(margin=2.0)([[1.0], [0.0]], [[3.0], [0.5]]))
    5.625

    Raises:
        TypeError: if `margin` is not a number.
        ValueError: if `margin` is not positive; if the shapes differ; if labels outside [0, 1] or
            negative distances are found.

    Source: Hadsell, Chopra and LeCun, [Dimensionality Reduction by Learning an Invariant
    Mapping](https://doi.org/10.1109/CVPR.2006.100), CVPR 2006, where 0 means similar and both terms are
    halved. Here 1 means similar and nothing is halved, as in TensorFlow's course material and most tutorials;
    pytorch-metric-learning does not square the second term.
    """

    formula = staticmethod(contrastive)

    def __init__(
        self,
        margin: float = 1.0,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "contrastive",
        dtype: DType = None,
    ):
        super().__init__(name, reduction, dtype, margin=margin)
