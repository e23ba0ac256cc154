"""Cross-entropies over the cosines of a batch: which row belongs to which."""

from functools import partial

from keras import ops

from keras_penalties import _checks, _logits
from keras_penalties._serialization import register
from keras_penalties._types import DType, Reduction, Tensor, Tensors
from keras_penalties.losses._class_ids import class_labels
from keras_penalties.losses._declared import declared
from keras_penalties.losses._pairs import BatchLoss, Pairs, mean_where


@register
@declared(class_labels, temperature=partial(_checks.number, above=0.0))
def supervised_contrastive(y_true: Tensors, y_pred: Tensors, temperature: float = 0.07) -> Tensor:
    """Supervised contrastive loss: one value per row, as `SupervisedContrastive`."""
    pairs = Pairs(y_true, y_pred, "supervised_contrastive")
    logits = pairs.cosines(temperature)
    values = _logits.log_total(logits, pairs.others) - mean_where(logits, pairs.positive)
    return ops.where(ops.any(pairs.positive, axis=1), values, 0)


@register
@declared(class_labels, temperature=partial(_checks.number, above=0.0))
def ntxent(y_true: Tensors, y_pred: Tensors, temperature: float = 0.5) -> Tensor:
    """Normalized temperature-scaled cross-entropy: one value per row, as `NTXent`."""
    pairs = Pairs(y_true, y_pred, "ntxent")
    logits = pairs.cosines(temperature)
    return mean_where(
        ops.softplus(_logits.log_total(logits, pairs.negative)[:, None] - logits), pairs.positive
    )


@register
class SupervisedContrastive(BatchLoss):
    r"""Brings each row closer to the rows of its class than to all other rows of the batch.

    $$\ell_i = -\frac{1}{|P_i|}\sum_{p\in P_i}\log\frac{e^{s_{ip}/t}}{\sum_{k\ne i} e^{s_{ik}/t}},\qquad
    s_{ij} = \frac{x_i\cdot x_j}{\lVert x_i\rVert\,\lVert x_j\rVert}$$

    \(P_i\) are the other rows of the class of row \(i\). If there are none, row \(i\) has the value 0, and
    counts in the mean; to leave it out, here and in the sums of other rows, give it the sample weight 0. A
    row of zeros has the cosine 0 with all others.

    Args:
        temperature: \(t\), a finite float > 0. The lower it is, the more the closest rows matter.
            Defaults to 0.07.
        reduction: as in Keras; the default is the mean over the batch.
        name: the loss's name.
        dtype: as in Keras.

    Shapes: `y_true` holds class ids below `2**31`, `(batch,)` or `(batch, 1)`, or is one-hot,
    `(batch, classes)`; `y_pred` holds the embeddings, `(batch, features)`, of any length. Without
    reduction the result is `(batch,)`, in nats. A row without a label (a negative id, or a one-hot row of
    zeros) counts as one whose sample weight is zero. Such rows, and those that a mask drops, are in no pair.

    Example:

    >>> import keras_penalties as kp
    >>> loss = kp.losses.SupervisedContrastive(temperature=1.0)
    >>> # log(1 + 1 / e) * 2 / 3
    >>> round(float(loss([0, 0, 1], [[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]])), 6)
    0.208841

    Raises:
        TypeError: if `temperature` is not a number.
        ValueError: if `temperature` is not positive; if the shapes do not match; if labels
            are neither class ids nor one-hot.

    Source: Khosla et al., [Supervised Contrastive Learning](https://arxiv.org/abs/2004.11362), NeurIPS 2020,
    its "L_out". The authors' code multiplies by `temperature / 0.07`, and gave NaN for rows without a
    positive. pytorch-metric-learning leaves values of 0 out of the mean, and gives 0 for a batch of one
    class.
    """

    formula = staticmethod(supervised_contrastive)

    def __init__(
        self,
        temperature: float = 0.07,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "supervised_contrastive",
        dtype: DType = None,
    ):
        super().__init__(name, reduction, dtype, temperature=temperature)


@register
class NTXent(BatchLoss):
    r"""Brings the views of one image closer to each other than to other images: SimCLR's loss.

    $$\ell_i = -\frac{1}{|P_i|}\sum_{p\in P_i}
    \log\frac{e^{s_{ip}/t}}{e^{s_{ip}/t} + \sum_{n\in N_i} e^{s_{in}/t}},\qquad
    s_{ij} = \frac{x_i\cdot x_j}{\lVert x_i\rVert\,\lVert x_j\rVert}$$

    \(P_i\) are the other views of the image of row \(i\), and \(N_i\) the views of other images. With two
    views of each image this is SimCLR's formula, and equals `SupervisedContrastive`. With more views, a
    positive is compared only with the negatives; in `SupervisedContrastive`, it is compared with the other
    positives too. A row without a positive, or without a negative, has the value 0, and counts in the mean.

    Args:
        temperature: \(t\), a finite float > 0. The lower it is, the more the closest rows matter.
            Defaults to 0.5.
        reduction: as in Keras; the default is the mean over the batch.
        name: the loss's name.
        dtype: as in Keras.

    Shapes: `y_true` says which image a row is a view of, by ids below `2**31`, `(batch,)` or `(batch, 1)`,
    or one-hot, `(batch, images)`; `y_pred` holds the embeddings, `(batch, features)`, of any length.
    Without reduction the result is `(batch,)`, in nats. A row without an image (a negative id, or a one-hot
    row of zeros) counts as one whose sample weight is zero. Such rows, and those that a mask drops, are in no
    pair.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> # two views of two images, in one batch
    >>> first, second = [[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 3.0]]
    >>> views, ids = np.concatenate([first, second]), np.concatenate([[0, 1], [0, 1]])
    >>> round(float(kp.losses.NTXent(temperature=1.0)(ids, views)), 6)  # log(1 + 2 / e)
    0.551445

    Raises:
        TypeError: if `temperature` is not a number.
        ValueError: if `temperature` is not positive; if the shapes do not match; if labels
            are neither ids nor one-hot.

    Source: Chen, Kornblith, Norouzi and Hinton, [A Simple Framework for Contrastive Learning of Visual
    Representations](https://arxiv.org/abs/2002.05709), ICML 2020. For more than two views, as in
    pytorch-metric-learning and optax.
    """

    formula = staticmethod(ntxent)

    def __init__(
        self,
        temperature: float = 0.5,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "ntxent",
        dtype: DType = None,
    ):
        super().__init__(name, reduction, dtype, temperature=temperature)
