"""Penalties on a model that exists, by name, and a model without any."""

import keras

from keras_penalties._attach import bare
from keras_penalties._attach.spots import find
from keras_penalties._attach.wiring import Wiring
from keras_penalties.models import HiddenOutputs, _graph


def penalize(model: keras.Model, penalties: dict, where: str = "output") -> keras.Model:
    """Put penalties on layers of a model that exists, by name, path, pattern or class.

    The result is a new model, not compiled, around the same layers: it has the same weights, gives the
    same outputs to the bit, and trains the same variables. `model` stays as it is. An
    `ActivityPenalty` sits at each tensor, named after its layer and shown under that name in the
    logs: `dense_4_penalty`, at a second use `dense_4_penalty_1`; with the names of the nested models
    in front where two layers have one name. Masks reach it. Nested models stay nested models, and
    Sequential ones Sequential. It saves to `.keras`; `strip` takes the penalties off again.

    Args:
        model: a functional or Sequential model, built; it may be pretrained, frozen, compiled, nested.
        penalties: a dict. A key is a layer's name (`"dense_4"`), a path into nested models
            (`"vgg16/block3_conv3"`), a shell pattern (`"block*_conv*"`, `"vgg16/*"`), or a class of
            layers (`keras.layers.Dense`). A name or pattern means every layer, nested ones too,
            whose path ends so; a whole path means that layer alone. `"encoder@1"` is the second use
            of a layer, `"lstm:1"` its second output (or input). A value is a penalty, a
            `keras.regularizers` object, or a list of these.
        where: `"output"`; `"input"`, the layer's first argument; or `"preactivation"`, for a Dense
            layer or a convolution: what it gives to its activation. For that the layer is replaced
            by two: one of the same name and variables without the activation, and an `Activation`
            called `<layer>_activation`. Defaults to `"output"`.

    Returns:
        A `keras.Model`; a `keras.Sequential` for a Sequential `model`.

    A layer that is used several times is punished at each use, each under its own name; a nested model
    that is used several times holds one penalty, which shows the sum. A layer inside a
    `TimeDistributed`, and the cell of an RNN that returns sequences, are punished at the wrapper's
    output, which is the same. Where a penalized layer gives an output of the model, that output is
    called after the penalty.

    Example:

    >>> import keras, numpy as np, keras_penalties as kp
    >>> model = keras.Sequential([keras.Input((2,)),
    ...     keras.layers.Dense(3, kernel_initializer="ones", name="dense_4"),
    ...     keras.layers.Dense(1, name="out")])
    >>> penalized = kp.penalize(model, {"dense_*": kp.regularizers.L2(0.1)})
    >>> penalized.compile(loss="mse")
    >>> x, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")
    >>> logs = penalized.evaluate(x, y, verbose=0, return_dict=True)
    >>> round(float(logs["dense_4_penalty"]), 4)  # 0.1 * 3 * 2**2
    1.2
    >>> penalized.get_layer("dense_4") is model.get_layer("dense_4")
    True

    Raises:
        TypeError: if `model` is not a Keras model, a key is neither string nor class, or a value is no
            penalty.
        ValueError: if `model` cannot be wired anew (subclassed, not built, with a training step of its
            own), a key matches nothing, a layer is matched twice, `where` is not known or the
            layer has no activation, or the layer is inside a wrapper where a penalty would not
            count.
    """
    if isinstance(model, HiddenOutputs):
        raise ValueError(
            f"`model` of penalize is a HiddenOutputs ('{model.name}'). Penalize its `.model`, and wrap the "
            "result."
        )
    _graph.check_model(model, "penalize")
    spots = find(model, penalties, where)
    return Wiring(model, spots, where).wire(model)


def strip(model: keras.Model, batch=None) -> keras.Model:
    """Take every penalty of this package off: a plain Keras model with the same weights.

    It takes away the `ActivityPenalty` layers, which `penalize` has put there or you have, every
    `activity_regularizer=` that is a penalty of this package, in nested and wrapped layers too, and
    the wrapper `HiddenOutputs`. Regularizers of Keras, names, dtype policies and what is trainable
    stay. Layers that `where="preactivation"` has taken apart are put together again.

    The result is a copy, not compiled, with weights of its own: `model` stays as it is, and training
    one does nothing to the other. Saved, it loads in a process without this package. Before it is
    returned, both models are run on one batch, and their outputs compared.

    Args:
        model: a functional or Sequential model, built, or a `HiddenOutputs`.
        batch: what to compare the outputs on, as `model.predict` takes it. Defaults to None: two
            random examples of the shapes and types of the model's inputs, integers being 0 or 1.

    Returns:
        A model of the class of `model` (of the wrapped one for `HiddenOutputs`).

    Example:

    >>> import keras, keras_penalties as kp
    >>> x = keras.Input((2,))
    >>> h = keras.layers.Dense(3, activity_regularizer=kp.regularizers.L1(0.1), name="dense_4")(x)
    >>> h = kp.layers.ActivityPenalty(kp.regularizers.DeCov(0.1), name="decov")(h)
    >>> bare = kp.strip(keras.Model(x, h))
    >>> [layer.name for layer in bare.layers][1:]
    ['dense_4']
    >>> "keras_penalties" in bare.to_json()
    False

    Raises:
        TypeError: if `model` is not a Keras model.
        ValueError: if `model` is subclassed or not built, if something else of this package is part of
            what it computes (`kp.layers.EuclideanDistance`), or if the outputs differ.
    """
    while isinstance(model, HiddenOutputs):
        model = model.model
    return bare.strip(model, batch)
