"""Put penalties on an existing model by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import keras

from keras_penalties._attach.penalized import Attaching
from keras_penalties._keras import layers as keras_layers
from keras_penalties._tensors import Receiver, Search, Tap, Tensor
from keras_penalties._tensors.masks import mask_names
from keras_penalties._tensors.models import check_built
from keras_penalties._tensors.search import quoted
from keras_penalties._tensors.tree import label
from keras_penalties._training.terms import as_penalties
from keras_penalties._training.terms import check as check_penalties
from keras_penalties.layers import ActivityPenalty
from keras_penalties.models import HiddenOutputs


def penalize(model: keras.Model, penalties: Mapping, mask_from: str | Mapping | None = None) -> keras.Model:
    """Put penalties on tensors of an existing model, by name, path, pattern or class.

    The result is a new model of the class of `model`, not compiled. It has the same methods, weights and
    layers, returns bitwise equal outputs, and trains the same variables. `model` does not change. Each
    penalty is logged under the name of its layer: `dense_4_penalty`, or `dense_4_penalty_1` for the second
    use of the layer in a graph. If several layers have the same name, the log keys begin with the names of
    the layers around them. Penalties use the mask that Keras keeps with a tensor, if it keeps one. The model
    saves to `.keras` with its penalties, its weight files and those of `model` are interchangeable, and
    `strip` removes the penalties.

    Each named layer is replaced by a copy that shares its weights and calls the penalty itself, no matter
    whether a graph, a `call` or a `train_step` runs it. In a graph, the layers after it are replaced by plain
    copies. So a model built from parts of the new one has exactly the penalties before its outputs.

    Args:
        model: a built Keras model of any kind: functional, Sequential or subclassed, pretrained, nested.
        penalties: a dict. A key is a layer's name (`"dense_4"`), a path through the layers around it
            (`"vgg16/block3_conv3"`, `"transformer_layer_3/feedforward_intermediate_dense"`), a shell pattern
            (`"block*_conv*"`, `"vgg16/*"`), or a class of layers (`keras.layers.Dense`). A name or pattern
            matches every layer whose path ends with it; a whole path matches only that layer. Where no name
            matches, the attributes of your classes do: `"hidden"` for `self.hidden`, `"blocks.0/up"` for
            `self.blocks[0].up`. The log key is then that of the attribute, which unlike a generated name is
            the same in each process. `"lstm:1"` is a
            layer's second output, `"encoder@1"` its second use in a graph, `"dense_4:preactivation"` the
            input of its activation, and `"dense_4:input"` the input of the layer. `list_tensors` lists the
            names. A value is a penalty, a `keras.regularizers` object, or a list of these.
        mask_from: the name of an input of the model that is a mask, such as KerasHub's `"padding_mask"`, or
            token ids padded with 0; or a dict from keys of `penalties` to such names. If the model is called
            on a dict, its keys are names too. What is not zero counts. It is combined with the mask that
            Keras keeps with a tensor. Inside a block of your own Keras' mask is usually lost after an
            addition.

    Returns:
        A model of the class of `model`.

    A layer that is used several times, or held in several places, is penalized at each use. In a graph, each
    use has its own name in the logs, and the path of one place means the uses there. A layer in a
    `TimeDistributed`, and the cell of an RNN that returns sequences, are penalized at the output of the
    wrapper, which is the same tensor. Attention scores (`"attention:1"`) turn off fused attention.

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
    >>> penalized.get_layer("dense_4").kernel is model.get_layer("dense_4").kernel
    True

    Raises:
        TypeError: if `model` is not a Keras model, a key is neither a string nor a class, or a value is not
            a penalty.
        ValueError: if `model` is not built, a key matches nothing or is not a valid name, a tensor is matched
            twice, a layer has no activation for `:preactivation`, a layer runs inside a loop over time or is
            rematerialized, or no input has the name `mask_from`.
    """
    check_model(model, "penalize")
    check(penalties)
    search, found = Search(model, "penalties", "penalize"), []
    masks = mask_names(mask_from, penalties, "penalties", "penalize")
    for key, penalty in penalties.items():
        for tap in taps_of(search.all(key), masks[key]):
            refuse_twice(tap, key, found)
            found.append((tap, key, penalty))
    names = names_for([tap.tensor for tap, _, _ in found], model)
    taps = [
        replace(tap, receiver=replace(tap.receiver, layer=ActivityPenalty(penalty, name=name)))
        for (tap, _, penalty), name in zip(found, names, strict=True)
    ]
    for tap in taps:
        check_symbolic(tap)
    return Attaching(taps).of_model(model)


def check_symbolic(tap: Tap):
    """Reject tensors that a penalty cannot measure, as far as the graph knows them."""
    place, part, layer = tap.tensor.place, tap.receiver.part, tap.receiver.layer
    outputs = dict(place.calls).get(tap.tensor.use, place.calls[0][1] if place.calls else [])
    if part.kind == "output" and (part.index or 0) < len(outputs):
        x, owner = outputs[part.index or 0], f"the layer '{layer.name}'"
        check_penalties(layer.get_term().penalties, x, owner, tap.symbolic_mask)


def check_model(model, owner: str):
    if isinstance(model, HiddenOutputs):
        raise ValueError(
            f"`model` of {owner} is a HiddenOutputs ('{model.name}'). Penalize its `.model`, and wrap the "
            "result."
        )
    check_built(model, owner)


def taps_of(tensors: list[Tensor], mask_from: str | None) -> list[Tap]:
    """Where to put a penalty, so that it is called once on each of `tensors`.

    A graph of layers distinguishes the uses of a layer. Elsewhere the layer itself calls its penalty, at
    every use, and in every place where it is held.
    """
    taps = [Tap(tensor, Receiver(tensor.part, None, mask_from)) for tensor in tensors]
    for tap in taps:
        tap.check_mask()
    called_by_layer = {id(tap.tensor.place.operation) for tap in taps if not tap.is_in_graph}
    found: list[Tap] = []
    for tap in taps:
        if id(tap.tensor.place.operation) in called_by_layer:
            refuse_one_use(tap.tensor)
            tap = replace(tap, tensor=replace(tap.tensor, uses=(None,)))
        if not any(tap.meets(other) for other in found):
            found.append(tap)
    return found


def refuse_one_use(tensor: Tensor):
    """Reject one of several uses of a layer, if these cannot be distinguished."""
    place = tensor.place
    if tensor.is_one_use and len(place.calls) > 1:
        name = f"{place.name}{tensor.part}"
        raise ValueError(
            f"`penalties` of penalize names '{place.name}@{tensor.use}{tensor.part}', one use of a "
            f"layer that is used {len(place.calls)} times. Only outputs and inputs within a graph of "
            f"layers can be distinguished by use. Name '{name}', which means every use."
        )


def check(penalties):
    if not isinstance(penalties, Mapping):
        raise TypeError(
            "`penalties` of penalize must be a dict from names to penalties. "
            f"Received: {penalties!r} (of type {type(penalties).__name__}). "
            "Write {'dense_4': kp.regularizers.L2(0.01)}."
        )
    if not penalties:
        raise ValueError("`penalties` of penalize must name at least one layer. Received: {}.")
    for key, penalty in penalties.items():
        if not isinstance(key, (str, type)):
            raise TypeError(
                "A key of `penalties` of penalize must be a layer's name, a path, a shell pattern or a "
                f"class of layers. Received: {key!r} (of type {type(key).__name__})."
                f"{f' Write {key.name!r}.' if isinstance(key, keras.layers.Layer) else ''}"
            )
        as_penalties(penalty, f"penalties[{quoted(key)}]", "penalize")


def refuse_twice(tap: Tap, key, taps):
    for other, other_key, _ in taps:
        if tap.meets(other):
            raise ValueError(
                f"`penalties` of penalize matches '{tap.tensor.place.name}' twice, by {quoted(other_key)} "
                f"and by {quoted(key)}. Narrow one of them, or give one key a list of penalties."
            )


def names_for(tensors, model) -> list[str]:
    """A name for the logs for each tensor: the layer's name, after as much of the path as is needed to
    distinguish the layers."""
    taken = {layer.name for layer in [model, *keras_layers.all_sublayers(model)]}
    paths = [(*_around(tensor), tensor.name) for tensor in tensors]
    names = []
    for path, tensor in zip(paths, tensors, strict=True):
        others = {other for other in paths if other != path}
        lengths = range(1, len(path) + 1)
        length = next((n for n in lengths if all(o[-n:] != path[-n:] for o in others)), len(path))
        name = "_".join(path[-length:])
        name = (
            f"layer_{name}" if name.startswith("val_") else name
        )  # otherwise it looks like a validation key
        names.append(unique(f"{name}{tensor.part.suffix}_penalty", taken))
    return names


def _around(tensor) -> list[str]:
    """The names of the layers around `tensor`; if the user named it by attributes, those of the layers."""
    holders = tensor.place.holders[::-1]
    names = [holder.path[-1] for holder in holders[: len(holders) - len(tensor.above)]]
    if tensor.name != tensor.place.operation.name:
        names = [([label(a) for a in h.attributes] or [n])[0] for h, n in zip(holders, names, strict=False)]
    return [*names, *tensor.above]


def unique(name: str, taken: set) -> str:
    """`name`, or `name_1` and so on if it is in `taken`; the result is added to `taken`."""
    number, start = 0, name
    while name in taken:
        number += 1
        name = f"{start}_{number}"
    taken.add(name)
    return name
