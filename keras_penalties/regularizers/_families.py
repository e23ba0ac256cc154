"""The two shapes of a penalty: a mean over examples, and a statistic of the batch."""

from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties.regularizers._penalty import Penalty


class PerExamplePenalty(Penalty):
    r"""The mean over the batch of one value an example.

    $$\frac{1}{N}\sum_n \sum_i f(x_{ni}) \quad\text{or, with per="element",}\quad
    \frac{1}{N}\sum_n \operatorname{mean}_i f(x_{ni})$$

    A subclass gives `elements(x)`, which is \(f\). What a mask drops counts neither in the sums nor
    in the means, and an example with nothing left does not count in \(N\).

    Args:
        strength: how hard the penalty presses, a finite float >= 0.
        per: `"example"` sums over an example's elements, as `keras.regularizers` do; `"element"`
            takes their mean, which does not depend on the layer's size.

    Example:

    >>> import keras, keras_penalties as kp
    >>> @keras.saving.register_keras_serializable("my_project")
    ... class Quartic(kp.regularizers.PerExamplePenalty):
    ...     def elements(self, x):
    ...         return x**4
    >>> float(Quartic(0.1).measure([[1.0, 2.0], [0.0, 1.0]]))  # ((1 + 16) + (0 + 1)) / 2
    9.0
    """

    def __init__(self, strength, per="example"):
        super().__init__(strength)
        self.per = _checks.choice(per, "per", self._owner, ("example", "element"))

    def elements(self, x):
        """One value for each element of `x`, in `x`'s shape."""
        raise NotImplementedError(f"{self._owner} must implement `elements(x)`.")

    def value(self, x, mask):
        values = self.elements(x)
        if mask is None:
            total = ops.sum(values) / self._batch(x)
            return total / self._size(x) if self.per == "element" else total
        values = _numerics.sum_examples(_numerics.keep(values, mask))
        counted = _numerics.sum_examples(ops.cast(mask, x.dtype))
        if self.per == "element":
            features = self._size(x) / self._size(ops.cast(mask, x.dtype))
            values = values / (_numerics.at_least_one(counted) * features)
        return _numerics.mean_of_examples(values, counted > 0)

    @staticmethod
    def _batch(x):
        return _numerics.at_least_one(ops.cast(ops.shape(x)[0], x.dtype))

    @staticmethod
    def _size(x):
        """How many elements an example has."""
        size = ops.convert_to_tensor(1.0, x.dtype)
        for n in ops.shape(x)[1:]:
            size = size * ops.cast(n, x.dtype)
        return _numerics.at_least_one(size)


class BatchStatisticPenalty(Penalty):
    r"""A number that describes the batch: of its covariances, its mean activations, its spread.

    Positions (time, height, width) are taken as rows, so that `x` becomes a table of `(rows,
    features)`. A subclass gives `statistic(rows, weights)`.

    Args:
        strength: how hard the penalty presses, a finite float >= 0.
        axis: the axis of the features. Defaults to the last.

    Example:

    >>> import keras, keras_penalties as kp
    >>> from keras import ops
    >>> @keras.saving.register_keras_serializable("my_project")
    ... class Centered(kp.regularizers.BatchStatisticPenalty):
    ...     def statistic(self, rows, weights):
    ...         mean = ops.sum(rows * weights[:, None], axis=0)
    ...         return ops.sum(ops.square(mean))
    >>> float(Centered(0.1).measure([[1.0, 2.0], [3.0, 0.0]]))  # means 2 and 1: 2**2 + 1**2
    5.0
    """

    def __init__(self, strength, axis=-1):
        super().__init__(strength)
        if not isinstance(axis, int) or isinstance(axis, bool):
            raise TypeError(
                f"`axis` of {self._owner} must be an int, the axis of the features. Received: {axis!r}."
            )
        if axis == 0:
            raise ValueError(
                f"`axis` of {self._owner} must be behind the batch, which is axis 0. Received: axis=0."
            )
        self.axis = axis

    def statistic(self, rows, weights):
        """The statistic of a table.

        Args:
            rows: `(N, features)`, float32 or float64, zeros where a mask drops the row.
            weights: `(N,)`, the share of each row in a mean: they sum to one, and are zero where a
                mask drops the row. `ops.sum(rows * weights[:, None], axis=0)` is the mean row.
        """
        raise NotImplementedError(f"{self._owner} must implement `statistic(rows, weights)`.")

    def value(self, x, mask):
        if mask is not None:
            positions = ops.ones_like(x[..., 0], dtype="bool")
            mask = ops.logical_and(_numerics.expand_like(mask, positions), positions)
        rows = ops.reshape(x, (-1, x.shape[-1]))
        weights = _numerics.row_weights(rows, mask)
        value = self.statistic(rows, weights)
        if mask is None and rows.shape[0]:
            return value
        return ops.where(ops.sum(weights) > 0, value, ops.zeros_like(value))
