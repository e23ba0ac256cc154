"""Contrastive loss over all pairs of a batch."""

from functools import partial

from keras import ops

from keras_penalties import _checks
from keras_penalties._serialization import register
from keras_penalties._types import DType, Reduction, Tensor, Tensors
from keras_penalties.losses._class_ids import class_labels
from keras_penalties.losses._declared import declared
from keras_penalties.losses._pairs import BatchLoss, Pairs, mean_where


@register
@declared(class_labels, margin=partial(_checks.number, above=0.0))
def pairwise_contrastive(y_true: Tensors, y_pred: Tensors, margin: float = 1.0) -> Tensor:
    """Contrastive loss of each row with the others of the batch: one value per row, as
    `PairwiseContrastive`."""
    pairs = Pairs(y_true, y_pred, "pairwise_contrastive")
    distances = pairs.distances()
    off = ops.where(pairs.positive, distances, ops.where(pairs.negative, ops.relu(margin - distances), 0))
    return mean_where(ops.square(off), pairs.others)


@register
class PairwiseContrastive(BatchLoss):
    r"""Pulls rows of one class together, and pushes others apart, up to a margin, over all pairs.

    $$\ell_i = \frac{1}{N-1}\sum_{j\ne i}\begin{cases}D_{ij}^2 & y_i = y_j\\
    \max(m - D_{ij}, 0)^2 & y_i \ne y_j\end{cases},\qquad D_{ij} = \lVert x_i - x_j\rVert_2$$

    This is `Contrastive` of every pair of the batch: the mean over the rows is the mean over all pairs. A
    single row in a batch has the value 0.

    Args:
        margin: the distance beyond which rows of two classes have no loss, a finite float > 0.
            Defaults to 1.0.
        reduction: as in Keras; the default is the mean over the batch.
        name: the loss's name.
        dtype: as in Keras.

    Shapes: `y_true` holds class ids below `2**31`, `(batch,)` or `(batch, 1)`, or is one-hot,
    `(batch, classes)`; `y_pred` holds the embeddings, `(batch, features)`. Without reduction the result
    is `(batch,)`, in the squared units of `y_pred`. A row without a label (a negative id, or a one-hot row of
    zeros) counts as one whose sample weight is zero. Such rows, and those that a mask drops, are in no pair.

    Example:

    >>> import keras_penalties as kp
    >>> loss = kp.losses.PairwiseContrastive(margin=2.0)
    >>> round(float(loss([0, 0, 1], [[0.0], [3.0], [0.5]])), 6)  # (9 + 1.5**2 + 0) / 3
    3.75

    Raises:
        TypeError: if `margin` is not a number.
        ValueError: if `margin` is not positive; if the shapes do not match; if labels are
            neither class ids nor one-hot.

    Source: Hadsell, Chopra and LeCun, [Dimensionality Reduction by Learning an Invariant
    Mapping](https://doi.org/10.1109/CVPR.2006.100), CVPR 2006, without its factors of 1/2.
    pytorch-metric-learning's `ContrastiveLoss` squares neither term, and adds the mean of the similar pairs
    with a loss above 0 to that of the others.
    """

    formula = staticmethod(pairwise_contrastive)

    def __init__(
        self,
        margin: float = 1.0,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "pairwise_contrastive",
        dtype: DType = None,
    ):
        super().__init__(name, reduction, dtype, margin=margin)
