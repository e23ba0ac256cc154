"""Put penalties on an existing model by name, and remove them."""

from keras_penalties._attach.penalize import penalize as penalize
from keras_penalties._attach.strip import strip as strip
