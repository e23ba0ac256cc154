"""The two families of penalties: a mean over examples, and a statistic of the batch."""

import math
from typing import final, get_args

from keras import ops

from keras_penalties import _checks, _numerics, _returned
from keras_penalties._keras import replicas, sizes
from keras_penalties._types import Per, Shapes, Tensor, Tensors
from keras_penalties.regularizers import _tables
from keras_penalties.regularizers._penalty import Penalty
from keras_penalties.schedules._strength import Strength


def same_shape(owner, shapes, of="elements"):
    """Reject tensors of different shapes whose elements are compared one by one."""
    first = shapes[0]
    for i, shape in enumerate(shapes[1:], 1):
        if not _checks.shapes_agree(first, shape):
            raise ValueError(
                f"{owner} compares the {of} of its tensors one by one. Received: x[0] with {of} of shape "
                f"{first}, x[{i}] with {of} of shape {shape}. Give them the same shape first."
            )


def same_features(owner, shapes, axis=-1):
    """Reject tensors with different numbers of features, which are compared with each other."""
    counts = [shape[axis] if len(shape) > 1 else 1 for shape in shapes]
    if len({count for count in counts if count is not None}) > 1:
        raise ValueError(
            f"{owner} compares tensors with the same number of features. Received: "
            f"{' and '.join(str(n) for n in counts)} features, in shapes {', '.join(map(str, shapes))}. "
            "Give them the same number first, for example with a `Dense` layer."
        )


def common_mask(masks):
    """The intersection of the masks, or None if there are none."""
    masks = [m for m in masks if m is not None]
    if not masks:
        return None
    kept = max(masks, key=lambda m: len(m.shape))
    for m in masks:
        kept = ops.logical_and(kept, _numerics.expand_like(m, kept))
    return kept


def mean_of_kept(values, kept):
    """The mean of one value per example, or per position, over those that are kept.

    Args:
        values: one value per example, or per position.
        kept: booleans of the shape of `values`, or of a prefix of it; None keeps all.
    """
    if kept is None:
        return _numerics.mean_of_examples(ops.reshape(values, (-1,)))
    kept = ops.logical_and(_numerics.expand_like(kept, values), ops.ones_like(values, dtype="bool"))
    counted = ops.cast(kept, values.dtype)
    # Keras takes the mean over replicas, which have equally many examples, but may keep different numbers.
    count = replicas.sum_over_replicas(ops.sum(counted))
    return ops.sum(
        ops.where(kept, values, 0) * (counted * replicas.replicas() / _numerics.at_least_one(count))
    )


def _unless_empty(values, x):
    """`values`, one for each example of `x`; 0 if examples have no elements, as in a sequence of no steps."""
    counts = [sizes.size(x, axis) for axis in range(1, len(x.shape))]
    if all(isinstance(count, int) and count > 0 for count in counts):
        return values
    return ops.where(math.prod(counts) > 0, values, 0)


class PerExamplePenalty(Penalty):
    r"""The mean over the batch of one value per example.

    $$\frac{1}{N}\sum_n \sum_i f(x_{ni}) \quad\text{or, with per="element",}\quad
    \frac{1}{N}\sum_n \operatorname{mean}_i f(x_{ni})$$

    Define `elements(x)`, which is \(f\). If the value of an example is not a sum over its elements, define
    `examples(x, mask)` instead.

    What a mask drops counts neither in the sums nor in the means, and an example that it drops entirely does
    not count in \(N\). A mask of single elements needs no further code with `elements`. With `examples`, it
    raises an error unless the class sets `masks_elements = True`.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        per: `"example"`, the default (the sum over an example's elements, as `keras.regularizers` do, so a
            long sequence weighs more than a short one), or `"element"` (their mean, so all weigh the same; it
            does not depend on the layer's size).

    Example:

    >>> import keras, keras_penalties as kp
    >>> @keras.saving.register_keras_serializable("my_project")
    ... class Quartic(kp.regularizers.PerExamplePenalty):
    ...     def elements(self, x):
    ...         return x**4
    >>> float(Quartic(0.1).measure([[1.0, 2.0], [0.0, 1.0]]))  # ((1 + 16) + (0 + 1)) / 2
    9.0
    """

    _formulas = ("value", "examples", "elements")
    _formula_methods = "`elements(x)` or `examples(x, mask)`"
    masks_elements = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if {"examples", "value"} & set(vars(cls)) and "masks_elements" not in vars(cls):
            cls.masks_elements = False  # its own code may handle only masks of positions

    def __init__(self, strength: Strength, per: Per = "example"):
        super().__init__(strength)
        self.per = _checks.choice(per, "per", self._owner, get_args(Per))

    def elements(self, x: Tensors) -> Tensor:
        """One value for each element of `x`, in `x`'s shape. If the penalty compares several tensors, `x` is
        a list of them, all of one shape."""
        raise NotImplementedError(f"{self._owner} has no formula. Define {self._formula_methods}.")

    def examples(self, x: Tensors, mask: Tensors) -> Tensor:
        """One value for each example: `(batch,)`. `x` holds zeros where `mask` drops something."""
        values = self._elements(x)
        return _numerics.sum_examples(values if mask is None else _numerics.keep(values, mask))

    @final
    def _elements(self, x):
        first = x[0] if isinstance(x, list) else x
        source, expected = f"`elements(x)` of {self._owner}", "one value for each element of `x`"
        return _returned.floats_of_shape(self.elements(x), ops.shape(first), source, expected, first)

    @final
    def _examples(self, x, mask, first):
        source, expected = f"`examples(x, mask)` of {self._owner}", "one value for each example"
        return _returned.floats_of_shape(
            self.examples(x, mask), ops.shape(first)[:1], source, expected, first
        )

    def value(self, x: Tensors, mask: Tensors) -> Tensor:
        if isinstance(x, list):
            mask = common_mask(mask)
            x = x if mask is None else [_numerics.keep(t, mask) for t in x]
        first = x[0] if isinstance(x, list) else x
        if mask is None:
            if type(self).examples is PerExamplePenalty.examples:  # one sum and one division, as in Keras
                total = ops.sum(self._elements(x)) / _numerics.count_of(first)
            else:
                total = _numerics.mean_of_examples(_unless_empty(self._examples(x, None, first), first))
            return total / self._size(first) if self.per == "element" else total
        values = self._examples(x, mask, first)
        kept = ops.cast(mask, first.dtype)
        counted = _numerics.sum_examples(kept)
        if self.per == "element":
            features = self._size(first) / self._size(kept)
            values = values / (_numerics.at_least_one(counted) * features)
        return mean_of_kept(values, counted > 0)

    def check_shapes(self, shapes: Shapes) -> None:
        same_shape(self._owner, shapes)

    @final
    @staticmethod
    def _size(x):
        """The number of elements of an example, at least 1."""
        return math.prod(_numerics.count_of(x, axis) for axis in range(1, len(x.shape)))


class BatchStatisticPenalty(Penalty):
    r"""A statistic of the whole batch, such as its covariances, mean activations or spread.

    Define `statistic(rows, weights)`. Each position (time, height, width) is a row, so `rows` has the shape
    `(N, features)`; on several TensorFlow replicas or PyTorch processes, it has the rows of all of them.
    `weights` has the shape `(N,)`: the share of each row in a mean, 0 where a mask drops the row. To multiply
    rows by their weights, write `weights[:, None] * rows`. `self.standardized(rows, weights)` gives each
    feature mean 0 and standard deviation 1.

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        axis: the axis of the features. Defaults to the last.

    Attributes:
        paired: for a penalty that compares several tensors, whether row `n` of one belongs to row `n` of the
            others. If True, the default, a row that the mask of one tensor drops counts in no tensor.

    Example:

    >>> import keras, keras_penalties as kp
    >>> @keras.saving.register_keras_serializable("my_project")
    ... class Centered(kp.regularizers.BatchStatisticPenalty):
    ...     def statistic(self, rows, weights):
    ...         mean = keras.ops.sum(weights[:, None] * rows, axis=0)
    ...         return keras.ops.sum(keras.ops.square(mean))
    >>> float(Centered(0.1).measure([[1.0, 2.0], [3.0, 0.0]]))  # means 2 and 1: 2**2 + 1**2
    5.0
    """

    _formulas = ("value", "statistic")
    _formula_methods = "`statistic(rows, weights)`"
    paired = True
    # Whether `statistic` accepts None for the weights if no row is dropped, which saves passes over the rows.
    _weights_optional = False
    # If `statistic` uses the rows only in sums that functions of `_numerics` take: the number of
    # features-by-features matrices that it sums. Replicas then exchange sums, not rows, if these are smaller.
    _products: int | None = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if {"statistic", "value"} & set(vars(cls)):  # its own code may need all rows and weights
            cls._products = vars(cls).get("_products")
            cls._weights_optional = vars(cls).get("_weights_optional", False)

    def __init__(self, strength: Strength, axis: int = -1):
        super().__init__(strength)
        if not isinstance(axis, int) or isinstance(axis, bool):
            raise TypeError(
                f"`axis` of {self._owner} must be an int, the axis of the features. Received: {axis!r}."
            )
        if axis == 0:
            raise ValueError(
                f"`axis` of {self._owner} must come after the batch, which is axis 0. Received: axis=0."
            )
        self.axis = axis

    @property
    def _features(self) -> int:
        return self.axis

    def statistic(self, rows: Tensors, weights: Tensors) -> Tensor:
        """The statistic of a table.

        Args:
            rows: `(N, features)`, float32 or float64, zeros where a mask drops the row.
            weights: `(N,)`, the share of each row in a mean: they sum to one, and are zero where a
                mask drops the row. `ops.sum(weights[:, None] * rows, axis=0)` is the mean row.

        If the penalty compares several tensors, both are lists.
        """
        raise NotImplementedError(f"{self._owner} has no formula. Define {self._formula_methods}.")

    @staticmethod
    def standardized(rows: Tensor, weights: Tensor) -> Tensor:
        """Each column of `rows` with mean 0 and standard deviation 1; constant columns become zeros.

        Args:
            rows: `(N, features)`, as `statistic` gets them.
            weights: `(N,)`, the share of each row in a mean. A row of weight 0 becomes zeros.

        Returns:
            A tensor of the shape and dtype of `rows`. The standard deviation is that of the population.

        Example:

        >>> import keras_penalties as kp
        >>> from keras import ops
        >>> rows = ops.convert_to_tensor([[1.0, 5.0], [3.0, 5.0], [9.0, 9.0]])
        >>> weights = ops.convert_to_tensor([0.5, 0.5, 0.0])  # a mask drops the third row
        >>> [[round(float(x), 4) for x in row]
        ...     for row in kp.regularizers.BatchStatisticPenalty.standardized(rows, weights)]
        [[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
        """
        return _numerics.standardize(rows, weights)

    def value(self, x: Tensors, mask: Tensors) -> Tensor:
        several = isinstance(x, list)
        xs, masks = (x, mask) if several else ([x], [mask])
        kept = [_row_mask(t, m) for t, m in zip(xs, masks, strict=True)]
        if self.paired:
            kept = [common_mask(kept)] * len(xs)

        def formula(tables):
            rows, weights = ([getattr(table, name) for table in tables] for name in ("rows", "weights"))
            value = self.statistic(rows, weights) if several else self.statistic(rows[0], weights[0])
            source = f"`statistic(rows, weights)` of {self._owner}"
            return _returned.scalar(value, source, self.parts, rows[0])

        return self._of_all_rows([_rows(t) for t in xs], kept, formula)

    def _of_all_rows(self, rows, kept, formula):
        return _tables.of_all_rows(rows, kept, formula, self._weights_optional, self._products)

    def check_shapes(self, shapes: Shapes) -> None:
        if self.paired and len(shapes) > 1:
            features = [self._features % max(2, len(s)) for s in shapes]
            rows = [
                tuple(n for i, n in enumerate(s) if i != f) for s, f in zip(shapes, features, strict=True)
            ]
            same_shape(self._owner, rows, "rows")


def _rows(x):
    """`x` as a table, in which each position is a row."""
    return ops.reshape(x, (-1, x.shape[-1]))


def _row_mask(x, mask):
    return None if mask is None else ops.reshape(_numerics.positions(mask, x), (-1,))
