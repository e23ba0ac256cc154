"""Strengths over time: any `keras.optimizers.schedules` object, and what Keras has not."""

from keras_penalties.schedules._cyclical import Cyclical as Cyclical
from keras_penalties.schedules._target import Target as Target

__all__ = ["Cyclical", "Target"]
