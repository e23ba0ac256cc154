"""A model without penalties, with the same weights."""

from __future__ import annotations

import keras

from keras_penalties._keras import copies, graphs
from keras_penalties._keras import layers as keras_layers
from keras_penalties._tensors.rebuild import Rebuild
from keras_penalties._tensors.tapped import RecordedActivation, Tapped, is_mixed, tapped_class, unmixed
from keras_penalties._tensors.taps import tap
from keras_penalties.layers import ActivityPenalty
from keras_penalties.models import HiddenOutputs
from keras_penalties.regularizers import Penalty


class Untapping(Rebuild):
    """A model without receivers.

    Args:
        receivers: the ids of those to remove; None for every `ActivityPenalty`, and also every
            `activity_regularizer=` that is a penalty of this package.
    """

    def __init__(self, receivers: set[int] | None = None):
        super().__init__()
        self.receivers = receivers
        self.identities: dict[int, keras.layers.Layer] = {}  # by the id of the penalty
        self.activations: dict[int, keras.layers.Layer] = {}  # by the id of the layer whose activation it is

    def in_place_of(self, layer):
        if self.receivers is None and isinstance(layer, HiddenOutputs):
            return layer.model
        if self.receivers is None and isinstance(layer, ActivityPenalty):
            if id(layer) not in self.identities:  # for one that is the argument of another layer
                self.identities[id(layer)] = keras_layers.identity_like(layer)
            return self.identities[id(layer)]
        return layer

    def goes(self, receiver) -> bool:
        if self.receivers is None:
            return isinstance(receiver, ActivityPenalty)
        return id(receiver) in self.receivers

    def is_changed(self, layer):
        if graphs.is_graph(layer):
            operations = graphs.as_functional(layer).operations
            return is_mixed(type(layer)) or any(self.is_dropped(operation) for operation in operations)
        return is_mixed(type(layer)) or id(layer) in self.activations or bool(self._regularizers(layer))

    def is_dropped(self, operation):
        return self.goes(operation) or any(operation is taken for taken in self.activations.values())

    def class_of(self, layer, outermost):
        plain = unmixed(type(layer))
        return tapped_class(plain) if self._left(layer) else plain

    def finish(self, new, layer):
        with keras_layers.unlocked(new):
            if isinstance(layer, Tapped):
                self._untap(new, layer)
            if id(layer) in self.activations:
                taken = self.activations[id(layer)]
                new.activation, new.activity_regularizer = taken.activation, taken.activity_regularizer
            for name in self._regularizers(new):
                setattr(new, name, None)
        if not is_mixed(type(new)):
            vars(new).pop("requests", None)

    def prepare(self, layer):
        """Find the activations that releases before 0.2 split off from layers of this graph."""
        if self.receivers is None and graphs.is_graph(layer):
            self.activations |= _taken_apart(layer)

    def _left(self, layer) -> list:
        receivers = layer.receivers.all if isinstance(layer, Tapped) else []
        return [receiver for receiver in receivers if not self.goes(receiver.layer)]

    def _untap(self, new, layer):
        left = self._left(layer)
        gone = [receiver.layer for receiver in layer.receivers.all if self.goes(receiver.layer)]
        keras_layers.forget(new, [self.made.get(id(receiver), receiver) for receiver in gone])
        copies.remove_attribute(new, "receivers")
        copies.remove_attribute(new, "activity_penalties")
        if isinstance(vars(new).get("activation"), RecordedActivation):
            new.activation = new.activation.activation
        if left:
            tap(new, left)

    def _regularizers(self, layer) -> list[str]:
        """The attributes of `layer` that are penalties of this package, given as `activity_regularizer=`."""
        if self.receivers is not None:
            return []
        found = keras_layers.activity_regularizers(layer)
        return [name for name, regularizer in found.items() if isinstance(regularizer, Penalty)]


def plain(model, receivers=None):
    """`model` without penalties: a model of its class, not compiled, with the same layers and weights."""
    return Untapping(receivers).of(model)


def _taken_apart(model) -> dict:
    """The activations that `penalize` of 0.1 split off from the layers of `model`, by the ids of these: it
    called `dense`, then the penalty, then an `Activation` named `dense_activation`."""
    taken = {}
    for operation in graphs.as_functional(model).operations:
        if isinstance(operation, keras.layers.Activation) and operation.name.endswith("_activation"):
            for before in graphs.operations_before(operation):
                linear = [*graphs.operations_before(before)] if isinstance(before, ActivityPenalty) else []
                if linear and operation.name == f"{linear[0].name}_activation":
                    taken[id(linear[0])] = operation
    return taken
