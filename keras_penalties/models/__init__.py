"""Models that pass hidden layers to compiled losses, and models that use a network more than once."""

from keras_penalties.models._anti_piracy import AntiPiracy as AntiPiracy
from keras_penalties.models._gradient import Gradient as Gradient
from keras_penalties.models._hidden_outputs import HiddenOutputs as HiddenOutputs
from keras_penalties.models._siamese import Siamese as Siamese
from keras_penalties.models._siamese import balanced_pairs as balanced_pairs

__all__ = ["AntiPiracy", "Gradient", "HiddenOutputs", "Siamese", "balanced_pairs"]
