"""Strengths over time, in addition to every `keras.optimizers.schedules` object."""

from keras_penalties.schedules._cyclical import Cyclical as Cyclical
from keras_penalties.schedules._target import Target as Target

__all__ = ["Cyclical", "Target"]
