"""Put penalties on an existing model by name, and remove them."""

from keras_penalties._attach.attaching import penalize as penalize
from keras_penalties._attach.stripping import strip as strip
