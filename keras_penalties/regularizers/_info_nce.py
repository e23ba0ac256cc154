"""Two views of the same examples: closer to each other than to the views of other examples."""

from typing import Literal, TypeAlias, get_args

from keras import ops

from keras_penalties import _checks, _logits, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Shapes, Tensor, Tensors
from keras_penalties.regularizers._families import BatchStatisticPenalty, same_features
from keras_penalties.schedules._strength import Strength

Negatives: TypeAlias = Literal["both_views", "other_view"]


@register
class InfoNCE(BatchStatisticPenalty):
    r"""Brings two views of an example closer to each other than to the views of other examples.

    $$\frac{1}{2N}\sum_n \left[\ell(a_n, b_n) + \ell(b_n, a_n)\right],\qquad
    \ell(a_n, b_n) = -\log\frac{e^{s(a_n, b_n)/t}}{e^{s(a_n, b_n)/t} + \sum_{z} e^{s(a_n, z)/t}},\qquad
    s(a, b) = \frac{a\cdot b}{\lVert a\rVert\,\lVert b\rVert}$$

    The sum over \(z\) is over the negatives of \(a_n\): the views of the other examples of the batch. With
    `symmetric=False` the value is only the mean of \(\ell(a_n, b_n)\). No labels are needed: row `n` of one
    tensor is the positive of row `n` of the other.

    | method | arguments |
    |---|---|
    | SimCLR's NT-Xent | the defaults |
    | CLIP | `negatives="other_view"`, at a fixed temperature |
    | a query and its key, as in contrastive predictive coding | `negatives="other_view", symmetric=False` |

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        temperature: \(t\), a finite float > 0. The lower it is, the more the closest negatives matter. SimCLR
            uses 0.1 on ImageNet and 0.5 on CIFAR-10; CLIP starts at 0.07. Defaults to 0.1.
        symmetric: whether each row of both tensors is compared with its negatives, or only each row of the
            first. Defaults to True.
        negatives: `"both_views"`: the other rows of both tensors; or `"other_view"`: only those of the other
            tensor. Tensors of two kinds, such as images and texts, need `"other_view"`.
            Defaults to `"both_views"`.
        axis: the axis of the features. Defaults to the last. Each position is a row.

    Shapes: a list of two tensors of the same shape `(batch, ..., features)`, any float type and rows of any
    length; row `n` of one is the other view of row `n` of the other. The result is a float32 scalar in nats.
    A row of zeros has the cosine 0 with all others, and gradient 0. A single row has no negatives, so the
    value is 0.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> a, b = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [0.0, 3.0]])
    >>> simclr = kp.regularizers.InfoNCE(1.0, temperature=1.0)
    >>> round(float(simclr.measure([a, b])), 6)  # log(1 + 2 / e)
    0.551445
    >>> clip = kp.regularizers.InfoNCE(1.0, temperature=1.0, negatives="other_view")
    >>> round(float(clip.measure([a, b])), 6)  # log(1 + 1 / e)
    0.313262

    Raises:
        TypeError: if `strength` or `temperature` is not a number, `symmetric` not a bool, or `axis` not an
            int.
        ValueError: if `strength` is negative or not finite, `temperature` is not positive, `negatives` is not
            one of the values above, `axis` is the batch, or the shapes differ.

    Source: Chen, Kornblith, Norouzi and Hinton, [A Simple Framework for Contrastive Learning of Visual
    Representations](https://arxiv.org/abs/2002.05709), ICML 2020, equation 1 and algorithm 1. lightly's
    `NTXentLoss` gives the same number, and so does pytorch-metric-learning's
    `SelfSupervisedLoss(NTXentLoss(), symmetric=True)`. CLIP: Radford et al., [Learning Transferable Visual
    Models From Natural Language Supervision](https://arxiv.org/abs/2103.00020), ICML 2021, figure 3, which
    learns the temperature. Contrastive predictive coding: van den Oord, Li and Vinyals, [Representation
    Learning with Contrastive Predictive Coding](https://arxiv.org/abs/1807.03748), 2018. If labels say which
    rows of one tensor are views of the same example, use `keras_penalties.losses.NTXent`.
    """

    tensors = 2

    def __init__(
        self,
        strength: Strength,
        temperature: float = 0.1,
        symmetric: bool = True,
        negatives: Negatives = "both_views",
        axis: int = -1,
    ):
        super().__init__(strength, axis=axis)
        self.temperature = _checks.number(temperature, "temperature", self._owner, above=0.0)
        self.symmetric = _checks.flag(symmetric, "symmetric", self._owner)
        self.negatives = _checks.choice(negatives, "negatives", self._owner, get_args(Negatives))

    def check_shapes(self, shapes: Shapes) -> None:
        super().check_shapes(shapes)
        same_features(self._owner, shapes, self._features)

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        a, b = (_numerics.unit(r) for r in rows)
        index = ops.arange(ops.shape(a)[0], dtype="int32")
        negative = (weights[0] > 0)[None] & ops.not_equal(index[:, None], index[None])
        positive = ops.sum(a * b, axis=-1) / self.temperature
        across = (a / self.temperature) @ ops.transpose(b)
        values = self._values(positive, across, a, negative)
        if self.symmetric:
            values = 0.5 * (values + self._values(positive, ops.transpose(across), b, negative))
        return ops.sum(weights[0] * values)

    def _values(self, positive, across, own, negative):
        """The value of each row of `own`, of length 1, whose cosines with the other view are `across`."""
        if self.negatives == "both_views":
            within = (own / self.temperature) @ ops.transpose(own)
            across, negative = (ops.concatenate(m, axis=1) for m in ([across, within], [negative, negative]))
        return ops.softplus(_logits.log_total(across, negative) - positive)
