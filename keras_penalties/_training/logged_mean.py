"""What a term adds to the loss, on its way into the logs."""

import weakref
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_penalties._keras import replicas, scopes
from keras_penalties._serialization import register


@dataclass(eq=False)
class _Offer:
    loss: Any
    value: Any
    batch: Any
    replica: int
    taken: bool = False
    shown: bool = False


class _Offers:
    """A plain holder, which the attribute tracking of Keras and TensorFlow leaves alone."""

    def __init__(self):
        self.list: list[_Offer] = []
        self.scope = lambda: None


@register
class AddedMean(keras.metrics.Mean):
    """The mean of what a layer added to the loss, weighted by batch size as Keras weights `loss`.

    A layer's `call` cannot update a metric on JAX, and must not leave an update behind in an exported
    model. So `call` offers its value, a loss that reads it takes it, and the metric counts it when it
    is asked for its result, which a training step does in the same graph or trace. The metric has
    nothing to save, so a layer that owns it loads checkpoints that know nothing of it.
    """

    def __init__(self, name="added", dtype="float32"):
        super().__init__(name=name, dtype=dtype)
        self._offers = _Offers()

    def enter(self, scope) -> bool:
        """Begin a new list of offers if `scope` is not the one of the last; say whether it is new."""
        is_new = scope is not self._offers.scope()
        if is_new:
            self.withdraw()
            self._offers.scope = weakref.ref(scope) if scope is not None else lambda: None
        return is_new

    def offer(self, loss, batch, value=None):
        """Show `value`, or `loss` itself, once `loss` was taken."""
        # The loss itself is kept until the next step: Keras tells losses apart by their `id`, which
        # Python may otherwise give to another one.
        value = ops.stop_gradient(loss if value is None else value)
        self._offers.list.append(_Offer(loss, value, batch, replicas.replica()))

    def take(self, losses):
        for offer in self._here():
            offer.taken = offer.taken or any(offer.loss is loss for loss in losses)

    @property
    def losses(self):
        """What was offered, as the loss that it is part of."""
        return [offer.loss for offer in self._here()]

    def withdraw(self):
        for offer in self._here():
            self._offers.list.remove(offer)

    def _here(self):
        """The offers of this replica: TensorFlow's replicas are threads that share the layer."""
        replica = replicas.replica()
        return [offer for offer in self._offers.list if offer.replica == replica]

    def add(self, value, batch):
        """Count `value`, a scalar, for `batch` examples: `update_state` with a fifth of its operations."""
        batch = ops.cast(batch, self.dtype)
        self.total.assign_add(ops.cast(value, self.dtype) * batch)
        self.count.assign_add(batch)

    def result(self):
        new = [o for o in self._here() if o.taken and not o.shown]
        new = [o for o in new if scopes.belongs_here(o.value)]
        if new:  # a layer that is used twice adds twice in one step
            self.add(sum(o.value for o in new), new[0].batch)
        for offer in new:
            offer.shown = True
        return super().result()

    def save_own_variables(self, store):
        pass

    def load_own_variables(self, store):
        pass
