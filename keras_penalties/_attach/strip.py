"""A model without penalties."""

from __future__ import annotations

import keras

from keras_penalties._attach.penalize import check_model
from keras_penalties._attach.plain import plain
from keras_penalties._keras import layers as keras_layers
from keras_penalties.layers import ActivityPenalty
from keras_penalties.models import HiddenOutputs


def strip(model: keras.Model) -> keras.Model:
    """Take every penalty of this package off: a plain Keras model around the same weights.

    It takes off the `ActivityPenalty` layers, which `penalize` has put there or you have, every
    `activity_regularizer=` that is a penalty of this package, in nested and wrapped layers too, and the
    wrapper `HiddenOutputs`. Regularizers of Keras, names, dtype policies and what is trainable stay.

    The result is a model of the class of `model`, not compiled, that shares its weights: training one trains
    the other. Saved, it loads in a process without this package.

    Args:
        model: a built Keras model, or a `HiddenOutputs`.

    Returns:
        A model of the class of `model` (of the wrapped one for `HiddenOutputs`).

    Example:

    >>> import keras, keras_penalties as kp
    >>> x = keras.Input((2,))
    >>> h = keras.layers.Dense(3, activity_regularizer=kp.regularizers.L1(0.1), name="dense_4")(x)
    >>> h = kp.layers.ActivityPenalty(kp.regularizers.DeCov(0.1), name="decov")(h)
    >>> plain = kp.strip(keras.Model(x, h))
    >>> [layer.name for layer in plain.layers][1:]
    ['dense_4']
    >>> "keras_penalties" in plain.to_json()
    False

    Raises:
        TypeError: if `model` is not a Keras model.
        ValueError: if `model` is not built, if something else of this package is part of what it computes
            (`kp.layers.EuclideanDistance`), or if the code of a layer makes a penalty.
    """
    while isinstance(model, HiddenOutputs):
        model = model.model
    check_model(model, "strip")
    new = plain(model)
    for layer in keras_layers.all_sublayers(new):
        if isinstance(layer, ActivityPenalty):
            owner = next(
                o for o in [new, *keras_layers.all_sublayers(new)] if layer in keras_layers.sublayers(o)
            )
            raise ValueError(
                f"`model` of strip has the penalty '{layer.name}' in the code of {type(owner).__name__}, "
                "which makes "
                "it again whenever it is made. Take it out of that class."
            )
        if type(layer).__module__.startswith("keras_penalties."):
            raise ValueError(
                f"`model` of strip has a part of this package that is not a penalty: {type(layer).__name__} "
                f"('{layer.name}'). It computes what '{model.name}' gives, so there is no plain model "
                "without it. "
                "Use `model.export(folder)`: what it writes is loaded without this package."
            )
    return new
