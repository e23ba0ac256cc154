"""What `HiddenOutputs` has in addition to its model."""

from typing import Any

import keras

from keras_penalties._keras.layers import allow_state


class Owned(keras.layers.Layer):
    """The state of compiled terms, which is created after the wrapper is built."""

    def __init__(self):
        super().__init__(name="hidden_losses", dtype="float32")
        self.built = True
        self.terms = []

    def hold(self, states):
        allow_state(self)
        self.terms.clear()
        self.terms.extend(state for state in states if state is not None)


class HiddenState:
    """What the wrapper has in addition to layers and weights, hidden from attribute tracking."""

    def __init__(self, references):
        self.references = references
        self.probe: Any = None
        self.joint_loss: Any = None
        self.seen, self.terms = {}, []
