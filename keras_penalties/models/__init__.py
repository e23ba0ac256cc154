"""Models that hand hidden layers to compiled losses."""

from keras_penalties.models._hidden_outputs import HiddenOutputs as HiddenOutputs

__all__ = ["HiddenOutputs"]
