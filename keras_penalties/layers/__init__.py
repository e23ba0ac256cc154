"""Layers that penalize their input, and layers that the models of this package use."""

from keras_penalties.layers._activity_penalty import ActivityPenalty as ActivityPenalty
from keras_penalties.layers._distances import CosineDistance as CosineDistance
from keras_penalties.layers._distances import EuclideanDistance as EuclideanDistance
from keras_penalties.layers._gradient_reversal import GradientReversal as GradientReversal
from keras_penalties.layers._universal_perturbation import UniversalPerturbation as UniversalPerturbation

__all__ = [
    "ActivityPenalty",
    "CosineDistance",
    "EuclideanDistance",
    "GradientReversal",
    "UniversalPerturbation",
]
