"""Remove the penalties of a model."""

from __future__ import annotations

import keras

from keras_penalties._attach.attaching import check_model
from keras_penalties._attach.plain import plain
from keras_penalties._keras import copies, graphs
from keras_penalties._keras import layers as keras_layers
from keras_penalties._tensors.tapped import Tapped
from keras_penalties.layers import ActivityPenalty
from keras_penalties.models import HiddenOutputs
from keras_penalties.regularizers import Penalty


def strip(model: keras.Model) -> keras.Model:
    """Remove every penalty of this package: returns a plain Keras model with the same weights.

    It removes the `ActivityPenalty` layers, those of `penalize` and your own, every
    `activity_regularizer=` that is a penalty of this package, in nested and wrapped layers too, and the
    wrapper `HiddenOutputs`. Regularizers of Keras, names, dtype policies and `trainable` flags stay.

    The result is a model of the class of `model`, not compiled, that shares its weights: training one trains
    the other. Saved, it loads in a process without this package.

    Args:
        model: a built Keras model, or a `HiddenOutputs`.

    Returns:
        A model of the class of `model` (of the wrapped one for `HiddenOutputs`).

    Example:

    >>> import keras, keras_penalties as kp
    >>> x = keras.Input((2,))
    >>> quiet = kp.regularizers.L1(0.1)
    >>> h = keras.layers.Dense(3, activity_regularizer=quiet, name="dense_4")(x)
    >>> h = kp.layers.ActivityPenalty(kp.regularizers.DeCov(0.1), name="decov")(h)
    >>> plain = kp.strip(keras.Model(x, h))
    >>> [layer.name for layer in plain.layers][1:]
    ['dense_4']
    >>> "keras_penalties" in plain.to_json()
    False

    Raises:
        TypeError: if `model` is not a Keras model.
        ValueError: if `model` is not built, if its outputs depend on another layer of this package
            (`kp.layers.EuclideanDistance`), if the code of a layer creates a penalty, or if one of your
            layers takes a penalty under another name than `activity_regularizer`.
    """
    while isinstance(model, HiddenOutputs):
        model = model.model
    check_model(model, "strip")
    for owner in _layers(model):
        _refuse_penalties_in_code(owner)
    new = plain(model)
    for layer in _layers(new):
        _refuse_penalties_in_arguments(layer)
        if type(layer).__module__.startswith("keras_penalties."):
            raise ValueError(
                f"`model` of strip contains a layer of this package that is not a penalty: "
                f"{type(layer).__name__} ('{layer.name}'). The output of '{model.name}' depends on it, so it "
                "cannot be removed. Use `model.export(folder)`, which writes a model that loads without this "
                "package."
            )
    return new


def _layers(model):
    return [model, *keras_layers.all_sublayers(model)]


def _refuse_penalties_in_code(owner):
    """Raise if `owner` has a penalty that its configuration does not name: then its code creates it."""
    if graphs.is_graph(owner) or isinstance(owner, Tapped):
        return
    for layer in keras_layers.sublayers(owner):
        if isinstance(layer, ActivityPenalty) and not _is_named_by(owner):
            raise ValueError(
                f"`model` of strip contains the penalty '{layer.name}', which the code of "
                f"{type(owner).__name__} creates each time. Remove it from that class."
            )


def _is_named_by(owner) -> bool:
    try:
        config = keras.saving.serialize_keras_object(owner)
    except Exception:  # then it cannot be saved anyway
        return True
    return keras.saving.get_registered_name(ActivityPenalty) in str(config)


def _refuse_penalties_in_arguments(layer):
    for name, value in copies.attributes(layer).items():
        if isinstance(value, Penalty):
            raise ValueError(
                f"`model` of strip has the penalty {type(value).__name__} as `{name}` of '{layer.name}' "
                f"({type(layer).__name__}). strip removes an `activity_regularizer`, but cannot know what "
                f"this class does without `{name}`. Create '{layer.name}' without it, and copy its weights."
            )
