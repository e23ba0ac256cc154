"""The state of `HiddenOutputs`, in addition to that of its model."""

from typing import Any

import keras
from keras import ops, tree

from keras_penalties import _numerics
from keras_penalties._keras import replicas
from keras_penalties._keras.layers import allow_state
from keras_penalties._keras.masks import with_masks
from keras_penalties.models import _loss_arguments
from keras_penalties.models._hidden import Hidden
from keras_penalties.models._step_data import StepData, naming, one_label


class Owned(keras.layers.Layer):
    """The state of compiled terms, which is created after the wrapper is built."""

    def __init__(self):
        super().__init__(name="hidden_losses", dtype="float32")
        self.built = True
        self.terms = []

    def hold(self, states):
        allow_state(self)
        self.terms.clear()
        self.terms.extend(states)


class HiddenState:
    """The state of the wrapper apart from layers and weights, hidden from attribute tracking.

    Attributes:
        hidden: the `Hidden` tensors.
        probe: the `Capture` of them.
        forward: by replica, the last forward pass.
        arguments: the arguments of `compile` for hidden tensors.
        terms: the hidden losses.
        targets: the values of `hidden_targets`.
        joint_loss: the joint loss, or None.
        one_weight: for training steps (True) and evaluation steps (False), whether the weights of several
            outputs are copies of one array.
    """

    def __init__(self, hidden: Hidden):
        self.hidden = hidden
        self.probe: Any = None
        self.arguments: Any = None
        self.joint_loss: Any = None
        self.forward, self.terms, self.targets = {}, [], []
        self.one_weight = {True: False, False: False}

    def compile(self, arguments, terms, joint_loss, specs):
        """Replace the terms; those that stay the same keep their state."""
        before = {term.names: term for term in self.terms}
        for term in terms:
            known = before.get(term.names)
            term.make_state(specs, known if known is not None and term.continues(known) else None)
        self.arguments, self.terms, self.joint_loss = arguments, terms, joint_loss
        self.targets = list(arguments.targets.values())

    @property
    def hidden_and_masks(self) -> tuple[dict, dict]:
        """The hidden tensors of this step, and their masks."""
        forward = self.forward.get(replicas.replica())
        return ({}, {}) if forward is None else self.hidden.of(forward)

    def added(self, data: StepData, y_pred, training, scaled):
        """For each term, and for the joint loss, what it adds to the loss, and what the logs show of it.
        `scaled` scales what penalties add for replicas, as Keras does."""
        hidden, masks = self.hidden_and_masks
        for term in self.terms:
            if term.loss is not None:
                value, others = term.added(data, hidden, masks, training)
                yield value, {term.key: replicas.unscale(value), **others}
            else:
                values = term.added(hidden, masks, training)
                yield scaled(values[term.key]), values
        if self.joint_loss is not None:
            value = self._joint_loss(data, y_pred, with_masks(hidden, masks))
            yield value, {"joint_loss": replicas.unscale(value)}

    def _joint_loss(self, data, y_pred, hidden):
        y = tree.map_structure(lambda a: a if a is None else ops.convert_to_tensor(a), one_label(data.y))
        weight = data.common_weight("joint_loss")
        with naming("joint_loss", labels=y, predictions=y_pred, sample_weight=weight):
            values = _loss_arguments.returned_by(self.joint_loss, self.joint_loss(y, y_pred, hidden))
            return _numerics.as_loss(_loss_arguments.mean_of_joint_loss(values, y_pred, weight))

    def measured(self, data: StepData):
        """For each hidden tensor with metrics, its name in the logs, labels, the tensor, and weights."""
        if self.arguments is None:
            return
        hidden, masks = self.hidden_and_masks
        for (name,), (shown, *_) in self.arguments.metrics().items():
            y, weight = self.arguments.labels_of(name, data)
            yield shown, y, with_masks({name: hidden[name]}, masks)[name], weight
