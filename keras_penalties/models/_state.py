"""What `HiddenOutputs` holds beside its model."""

from typing import Any

import keras

from keras_penalties._keras.layers import allow_state


class Owned(keras.layers.Layer):
    """The state of compiled terms, which comes after the wrapper was built."""

    def __init__(self):
        super().__init__(name="hidden_losses", dtype="float32")
        self.built = True
        self.terms = []

    def hold(self, states):
        allow_state(self)
        self.terms.clear()
        self.terms.extend(state for state in states if state is not None)


class HiddenState:
    """What the wrapper holds beside layers and weights, out of sight of attribute tracking."""

    def __init__(self, references):
        self.references = references
        self.probe: Any = None
        self.joint_loss: Any = None
        self.seen, self.terms = {}, []
