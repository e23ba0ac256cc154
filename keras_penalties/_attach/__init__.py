"""Penalties on an existing model, by name, and a model without any."""

from keras_penalties._attach.api import penalize as penalize
from keras_penalties._attach.api import strip as strip
