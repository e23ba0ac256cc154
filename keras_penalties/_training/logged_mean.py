"""Means for the logs, weighted by batch size as Keras weights `loss`."""

import keras
from keras import ops

from keras_penalties._keras.trainers import Monitored
from keras_penalties._serialization import register
from keras_penalties._training.untracked import Untracked


@register
class LoggedMean(keras.metrics.Mean, Monitored):
    """The mean of a value over batches. Its owner, a layer, counts through its additions, or calls `add`.

    A training step written after Keras' guides calls `update_state(y, y_pred)` on every metric. Here that
    counts the waiting values, and nothing else. The metric saves nothing, so a layer that owns it loads
    checkpoints that do not contain it.

    Args:
        name: the key in the logs.
        additions: the `Additions` of the layer that owns it, or None.
        key: the key of the values that it shows.
        direction: `"down"` or `"up"`, for callbacks that stop at the best value; None if no value is best.
    """

    def __init__(self, name="mean", dtype="float32", additions=None, key="", direction=None):
        super().__init__(name=name, dtype=dtype)
        if direction is not None:
            self._direction = direction
        self._source = Untracked(additions=additions, key=key)
        if additions is not None:
            additions.metrics.append(self)

    @property
    def key(self) -> str:
        """The key of the layer's values that it shows."""
        return self._source.key

    def add(self, value, batch, counts=True):
        """Count `value`, a scalar, for `batch` examples, in a fifth of the operations of a mean's
        `update_state`. If `counts` is False, the examples were counted with another part of the value."""
        batch = ops.cast(batch, self.dtype)
        self.total.assign_add(ops.cast(value, self.dtype) * batch)
        if counts:
            self.count.assign_add(batch)

    def update_state(self, *args, **kwargs):
        """Count the waiting values; the arguments come from a loop that updates every metric."""
        if self._source.additions is not None:
            for value, batch, first in self._source.additions.take(self.key):
                self.add(value, batch, counts=first)

    def result(self):
        self.update_state()
        if self._source.additions is not None:
            self._source.additions.end_step(self.key)
        return self.total / ops.maximum(self.count, 1)  # a mean's own `result` takes seven operations

    def reset_state(self):
        super().reset_state()
        if self._source.additions is not None:
            self._source.additions.forget(self.key)

    def save_own_variables(self, store):
        pass

    def load_own_variables(self, store):
        pass
