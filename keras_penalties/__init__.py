"""Penalties on the hidden layers of a Keras model: one penalty, one number, everywhere."""

from keras_penalties import layers as layers
from keras_penalties import losses as losses
from keras_penalties import models as models
from keras_penalties import regularizers as regularizers
from keras_penalties import schedules as schedules
from keras_penalties import testing as testing
from keras_penalties._attach import penalize as penalize
from keras_penalties._attach import strip as strip
from keras_penalties._audit import audit as audit
from keras_penalties._plots import plot_penalties as plot_penalties
from keras_penalties._tensors.listing import list_tensors as list_tensors

__version__ = "0.1.0"

__all__ = [
    "layers",
    "losses",
    "models",
    "regularizers",
    "schedules",
    "testing",
    "penalize",
    "strip",
    "audit",
    "list_tensors",
    "plot_penalties",
]
