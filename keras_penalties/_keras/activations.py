"""The activation of a layer, as far as Keras knows it."""

import sys

import keras

WITHIN_0_AND_1 = {"sigmoid", "hard_sigmoid", "sparse_sigmoid", "softmax", "sparsemax"}


def beyond_0_and_1(operation) -> str | None:
    """The name of the activation of a layer or operation, if its values can be outside [0, 1]."""
    name = (
        getattr(getattr(operation, "activation", None), "__name__", None) or type(operation).__name__.lower()
    )
    known = callable(getattr(keras.activations, name, None)) and name not in (
        "get",
        "serialize",
        "deserialize",
    )
    passes_on = name == "linear" and not getattr(operation, "weights", [])
    return name if known and not passes_on and name not in WITHIN_0_AND_1 else None


def calling_layer():
    """The layer whose `activity_regularizer` is being called, or None.

    Keras does not say which it is. It calls regularizers in `Layer.__call__`, in keras/src/layers/layer.py.
    """
    frame = sys._getframe(1)
    while frame is not None:
        layer = frame.f_locals.get("self")
        if frame.f_code.co_name == "__call__" and isinstance(layer, keras.layers.Layer):
            return layer
        frame = frame.f_back
    return None
