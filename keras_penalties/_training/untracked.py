"""Attributes that the attribute tracking of Keras and TensorFlow leaves alone."""

from types import SimpleNamespace


class Untracked(SimpleNamespace):
    """Named values that a layer or model holds. Nothing in them is saved or trained with it."""
