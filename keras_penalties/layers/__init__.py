"""Layers that punish what passes through them, and what the package's models are made of."""

from keras_penalties.layers._activity_penalty import ActivityPenalty as ActivityPenalty
from keras_penalties.layers._distances import CosineDistance as CosineDistance
from keras_penalties.layers._distances import EuclideanDistance as EuclideanDistance
from keras_penalties.layers._universal_perturbation import UniversalPerturbation as UniversalPerturbation

__all__ = ["ActivityPenalty", "CosineDistance", "EuclideanDistance", "UniversalPerturbation"]
