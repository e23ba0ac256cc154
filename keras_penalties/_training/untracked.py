"""Attributes that the attribute tracking of Keras and TensorFlow ignores."""

from types import SimpleNamespace


class Untracked(SimpleNamespace):
    """Named values in a layer or model that are neither saved nor trained with it."""
