"""A check that tensors of a model can be named."""

import keras

from keras_penalties._keras import graphs


def check_built(model, owner: str):
    """Reject what is not a built Keras model."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` of {owner} must be a Keras model. Received: {model!r} (of type {type(model).__name__})."
        )
    if not model.built or (isinstance(model, keras.Sequential) and not graphs.is_graph(model)):
        raise ValueError(
            f"`model` of {owner} must be built. '{model.name}' ({type(model).__name__}) has no weights yet. "
            "Call it on a batch first, or begin a Sequential model with `keras.Input(shape)`."
        )
