"""What models of several passes ask of the model that they are given, and of the first batch."""

import keras
import numpy as np
from keras import tree


def peek(x, y, rows=32):
    """The first rows of arrays, or None where the data is of another kind and would be used up."""
    arrays = [a for a in tree.flatten((x, y)) if a is not None]
    if y is None or not all(isinstance(a, np.ndarray) or keras.ops.is_tensor(a) for a in arrays):
        return None
    return tree.map_structure(lambda a: None if a is None else np.asarray(a[:rows]), (x, y))


class ChecksFirstBatch(keras.Model):
    """A model that looks at the first batch of arrays that `fit` gets; `check_batch(x, y)` refuses."""

    def __init__(self, name: str | None = None, **kwargs):
        super().__init__(**({"name": name} if name else {}), **kwargs)

    def fit(self, x=None, y=None, *args, **kwargs):
        seen = peek(x, y)
        if seen is not None and len(tree.flatten(seen[1])[0]):
            self.check_batch(*seen)
        return super().fit(x, y, *args, **kwargs)

    def check_batch(self, x, y):
        raise NotImplementedError


def input_of(model, argument, owner):
    """The shape and dtype of the one input of `model`; refuse a model with several, or none known."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`{argument}` of {owner} must be a Keras model. "
            f"Received: {model!r} (of type {type(model).__name__})."
        )
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs or len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"`{argument}` of {owner} must be a built functional or Sequential model of one input and one "
            f"output. '{model.name}' ({type(model).__name__}) has {len(inputs) if inputs else 'unknown'} "
            "input(s). Begin a Sequential model with `keras.Input(shape)`."
        )
    return inputs[0].shape, inputs[0].dtype
