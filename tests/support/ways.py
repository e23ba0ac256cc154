"""The ways of attaching a penalty, for tests that ask the same of each."""

import keras
from keras import layers

import keras_penalties as kp
from tests.models.networks import set_weights

WAYS = ("argument", "layer", "name", "compiled")


def attach(way, penalty, *, masked=False, steps=None, features=3, units=4, outputs=2, mean_pool=True):
    """A model with `penalty` on its hidden layer, by `way`, and the keyword arguments to compile it.

    With `steps`, inputs are sequences, and `masked` drops the steps that are all zeros.
    """
    start = keras.Input((features,) if steps is None else (steps, features))
    h = layers.Masking()(start) if masked else start
    regularizer = penalty if way == "argument" else None
    h = layers.Dense(units, activation="relu", name="hidden", activity_regularizer=regularizer)(h)
    if way == "layer":
        h = kp.layers.ActivityPenalty(penalty, name="penalty")(h)
    if steps is not None and mean_pool:
        h = layers.GlobalAveragePooling1D()(h)
    model = set_weights(keras.Model(start, layers.Dense(outputs, name="out")(h)))
    if way == "name":
        model = kp.penalize(model, {"hidden": penalty})
    if way != "compiled":
        return model, {}
    return kp.models.HiddenOutputs(model, hidden=["hidden"]), {"hidden_losses": {"hidden": penalty}}


def added(way, penalty, x, batch_size=None, **network):
    """What `penalty` adds to the loss of one evaluation, by `way`: the loss where the rest of it is 0."""
    model, compiled = attach(way, penalty, **network)
    model.compile("sgd", loss=None if way == "compiled" else _zero, **compiled)
    y = _labels(model, x)
    logs = model.evaluate(x, y, batch_size=batch_size or len(x), verbose=0, return_dict=True)
    return float(logs["loss"])


def _labels(model, x):
    return keras.ops.convert_to_numpy(keras.ops.zeros((len(x), model.output_shape[-1])))


def _zero(y_true, y_pred):
    return keras.ops.sum(y_pred * 0.0, axis=-1)
