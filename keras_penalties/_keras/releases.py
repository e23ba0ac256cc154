"""Differences between releases of Keras."""

import keras

# From 3.14 on, `Layer.__call__` divides what an `activity_regularizer` returns by the batch size.
KERAS_DIVIDES_BY_BATCH = tuple(int(part) for part in keras.__version__.split(".")[:2]) >= (3, 14)
