"""Distances of a hidden layer to the learned centres of the classes."""

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._keras import replicas
from keras_penalties._keras.masks import get_keras_mask
from keras_penalties._serialization import register
from keras_penalties._types import DType, Reduction, Shapes, Tensor, Tensors
from keras_penalties.losses._class_ids import check, class_ids, class_labels, weights_of_labelled
from keras_penalties.losses._stateful import StatefulLoss


@register
class Center(StatefulLoss):
    r"""Half the squared distance of each row to the centre of its class, which follows the rows.

    $$\ell_i = \tfrac12\lVert x_i - c_{y_i}\rVert_2^2,\qquad
    c_j \leftarrow c_j - \alpha\,\frac{\sum_i [y_i = j]\,(c_j - x_i)}{1 + \sum_i [y_i = j]}$$

    The centres are the state of the loss, which needs an owner: pass the loss in `hidden_losses` to
    `keras_penalties.models.HiddenOutputs`, which keeps the centres, saves them with the model, and updates
    them once per training step, after the loss is computed. They start at zero. `evaluate` does not change
    them, and they get no gradient. On several replicas they are updated with the rows of all.

    Args:
        classes: the number of classes, an int >= 1.
        rate: how far the centres move per step, \(\alpha\), a float in (0, 1]. Defaults to 0.5.
        reduction: as in Keras; the default is the mean over the batch.
        name: the loss's name.
        dtype: as in Keras.

    Shapes: `y_true` holds class ids from 0 on, `(batch,)` or `(batch, 1)`, or is one-hot,
    `(batch, classes)`; `y_pred` holds the hidden layer, `(batch, features)`. Without reduction the result
    is `(batch,)`, in the squared units of `y_pred`. A row without a label (a negative id, or a one-hot row of
    zeros) counts as one whose sample weight is zero. Such rows, and those that a mask drops, do not move a
    centre.

    Example:

    >>> import keras_penalties as kp
    >>> loss = kp.losses.Center(2, rate=0.5)
    >>> x, y = [[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]], [0, 0, 1]
    >>> # (1/2 + 9/2 + 4/2) / 3
    >>> round(float(loss(y, x, centers=[[0.0, 0.0], [0.0, 0.0]])), 6)
    2.333333
    >>> centers = loss.next_state(y, x, centers=[[0.0, 0.0], [0.0, 0.0]])["centers"]
    >>> [[round(float(v), 6) for v in row] for row in centers]  # 0.5 * 4/3, 0.5 * 2/2
    [[0.666667, 0.0], [0.0, 0.5]]

    Raises:
        TypeError: if `classes` is not an int or `rate` not a number; if the loss is used without an owner.
        ValueError: if an argument is out of range; if the shapes do not match; if labels are neither
            class ids below `classes` nor one-hot.

    Source: Wen, Zhang, Li and Qiao, [A Discriminative Feature Learning Approach for Deep Face
    Recognition](https://doi.org/10.1007/978-3-319-46478-7_31), ECCV 2016, equations 2 to 4, with the mean
    over the batch instead of the sum. pytorch-metric-learning and others train the centres by gradient, with
    a separate optimizer.
    """

    def __init__(
        self,
        classes: int,
        rate: float = 0.5,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "center",
        dtype: DType = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.classes = _checks.whole(classes, "classes", "Center")
        self.rate = _checks.number(rate, "rate", "Center", above=0.0, at_most=1.0)

    def state(self, shapes: Shapes) -> dict:
        """The centres, as arguments of `add_weight`, for a hidden layer of this shape."""
        (shape,) = shapes
        if len(shape) != 2 or shape[-1] is None:
            raise ValueError(
                "Center needs a hidden layer of shape (batch, features), with the number of features known. "
                f"Received: shape {tuple(shape)}. Name a layer after a Flatten or a pooling layer."
            )
        return {"centers": {"shape": (self.classes, shape[-1]), "initializer": "zeros"}}

    def __call__(
        self, y_true: Tensors, y_pred: Tensors, sample_weight: Tensors = None, **state: Tensor
    ) -> Tensor:
        if state:
            labels, rows = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
            check(labels, rows, "Center")
            sample_weight = weights_of_labelled(class_ids(labels), sample_weight)
        return super().__call__(y_true, y_pred, sample_weight, **state)

    # The state is passed by name; this loss has one.
    def call(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, y_true: Tensors, y_pred: Tensors, centers: Tensor
    ) -> Tensor:
        y_true, y_pred = self._checked(y_true, y_pred)
        centers = ops.stop_gradient(ops.cast(centers, y_pred.dtype))
        ids = ops.maximum(self._ids(y_true), 0)  # a row without a label has the weight 0
        own = ops.take(centers, ids, axis=0)
        return 0.5 * ops.sum(ops.square(own - y_pred), axis=-1)

    def next_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, y_true: Tensors, y_pred: Tensors, sample_weight: Tensors = None, *, centers: Tensor
    ) -> dict:
        """The centres after a training step."""
        mask = get_keras_mask(y_pred)
        y_true, y_pred = self._checked(y_true, y_pred)
        rows, centers = ops.stop_gradient(y_pred), ops.cast(centers, y_pred.dtype)
        ids = self._ids(y_true)
        counted = ids >= 0 if mask is None else (ids >= 0) & ops.cast(mask, "bool")
        if sample_weight is not None:
            counted = counted & (ops.reshape(ops.convert_to_tensor(sample_weight), (-1,)) > 0)
        of_class = ops.one_hot(ids, self.classes, dtype=rows.dtype)
        of_class = of_class * ops.cast(counted, rows.dtype)[:, None]
        counts = replicas.sum_over_replicas(ops.sum(of_class, axis=0))[:, None]
        sums = replicas.sum_over_replicas(ops.transpose(of_class) @ _numerics.keep(rows, counted))
        return {"centers": centers - self.rate * (counts * centers - sums) / (1.0 + counts)}

    def refuse(self, y_true: Tensors, y_pred: Tensors) -> None:
        """Raise if the labels, a NumPy array, are neither class ids below `classes` nor one-hot."""
        class_labels(y_true, y_pred, "Center")
        if y_true.ndim == 2 and y_true.shape[1] not in (1, self.classes):
            highest = y_true.shape[1] - 1
        else:
            one_hot = y_true.ndim == 2 and y_true.shape[1] > 1
            highest = 0 if one_hot or not y_true.size else int(y_true.max())
        if highest >= self.classes:
            raise ValueError(
                f"`y_true` of Center must hold class ids from 0 to {self.classes - 1}, as `classes` is "
                f"{self.classes}. Received: class {highest}."
            )

    def _checked(self, y_true, y_pred):
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        check(y_true, y_pred, "Center")
        return y_true, _numerics.accumulate(y_pred)

    def _ids(self, y_true):
        return ops.cast(class_ids(y_true), "int32")
