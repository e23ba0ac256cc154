"""Layers that punish what passes through them."""

from keras_penalties.layers._activity_penalty import ActivityPenalty as ActivityPenalty

__all__ = ["ActivityPenalty"]
