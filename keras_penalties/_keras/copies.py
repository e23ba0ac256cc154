"""Copies of layers and models that share variables and sublayers with the original.

A copy is an object of the same class (or a subclass) with the same attributes, in which some layers are
replaced by others. It has its own losses, its own lists in which Keras tracks the parts of a layer, and, for
a model, its own `compile` settings. The original does not change.

Keras: `src/layers/layer.py` (`Layer.__new__`, `_initialize_tracker`), `src/models/functional.py`,
`src/models/sequential.py`, `src/trainers/trainer.py`, `src/utils/tracking.py`.
"""

import functools
from typing import Any

import keras

from keras_penalties._keras import graphs, private

UNTRACKED = {type(None), bool, int, float, str}  # types that Keras' slow `__setattr__` ignores
STORES = ("trainable_variables", "non_trainable_variables", "layers", "metrics", "seed_generators")


def attributes(layer) -> dict:
    """The attributes of `layer`. PyTorch stores those that are modules separately."""
    modules = vars(layer).get("_modules", {})
    return {**vars(layer), **{name: module for name, module in modules.items() if name != "_torch_params"}}


def chosen_attributes(layer) -> dict:
    """The attributes of `layer` without the lists in which Keras tracks them."""
    return {name: value for name, value in attributes(layer).items() if name not in ("_layers", "_tracked")}


def layers_in(value):
    """The layers in the value of an attribute: the value itself, or those in containers at any depth."""
    if isinstance(value, keras.layers.Layer):
        yield value
    elif isinstance(value, (list, tuple, set, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from layers_in(item)


def layers_in_attributes(layer):
    """The layers in the attributes of `layer` that its copy shares."""
    own = _own(type(layer))
    for name, value in attributes(layer).items():
        if name not in own:
            yield from layers_in(value)


def replaced(value, others: dict):
    """`value`, in which each layer whose id is a key of `others` is replaced by the layer there."""
    if isinstance(value, keras.layers.Layer):
        return others.get(id(value), value)
    if not any(id(layer) in others for layer in layers_in(value)):
        return value
    if isinstance(value, dict):
        return {key: replaced(item, others) for key, item in value.items()}
    items = [replaced(item, others) for item in value]
    return type(value)(*items) if hasattr(value, "_fields") else _plain(value)(items)


def _plain(value):
    return next(kind for kind in (list, tuple, set) if isinstance(value, kind))


def copy(layer, others: dict, cls=None, outputs=None, stack=None):
    """A copy of `layer` in which `others` replace layers, by the ids of those that they replace.

    Args:
        layer: a built layer or model.
        others: the replacements, by id of the original; None removes a layer.
        cls: the class of the copy: that of `layer`, or a subclass of it.
        outputs: for a functional model, the outputs of the new graph, on the inputs of `layer`.
        stack: for a Sequential model, its layers.
    """
    cls = cls or type(layer)
    make: Any = cls.__new__
    new = make(cls)
    if outputs is not None:
        graphs.Functional.__init__(new, layer.input, outputs, name=layer.name)
    elif isinstance(layer, keras.Sequential):
        keras.Sequential.__init__(new, stack or _unbuilt_stack(layer, others), name=layer.name)
    else:
        base = keras.Model if isinstance(layer, keras.Model) else keras.layers.Layer
        base.__init__(new, name=layer.name)
    own = _own(type(new))
    _fill(new, layer, others)
    for name, value in attributes(layer).items():
        if name in own or (outputs is not None and name in _of_graphs()):
            continue
        if type(value) in UNTRACKED:
            vars(new)[name] = value
        else:
            setattr(new, name, replaced(value, others))
    tracker = private.of(layer, "_tracker")
    if tracker.locked:
        private.of(new, "_tracker").lock(private.of(tracker, "_lock_violation_msg"))
    if layer.built:
        private.of(new, "_post_build")()
    return new


def swap(layer, others: dict):
    """Replace layers inside `layer` by `others`, by the ids of the originals. This changes `layer`."""
    for name, value in chosen_attributes(layer).items():
        new = replaced(value, others)
        if new is not value:
            setattr(layer, name, new)
    tracker = private.of(layer, "_tracker")
    tracked = tracker.config["layers"][1]
    kept = list({id(inner): inner for inner in (replaced(inner, others) for inner in tracked)}.values())
    tracked[:] = kept
    tracker.stored_ids["layers"] = {id(inner) for inner in kept}


def remove_attribute(layer, name):
    """Delete an attribute of `layer`. Keras (`src/backend/tensorflow/layer.py`) goes on to list the names of
    deleted lists that it tracked, and reads each when the model is exported to a SavedModel."""
    delattr(layer, name)
    tracked = vars(layer).get("_tracked", [])
    tracked[:] = [other for other in tracked if other != name]


def _unbuilt_stack(model, others):
    return [replaced(layer, others) for layer in private.of(model, "_layers")]


def _fill(new, layer, others):
    """Track what `layer` tracks in the same order, which is the order of the variables and of files."""
    for store in STORES:
        if store == "layers" and isinstance(layer, keras.Sequential):
            continue
        tracker = private.of(new, "_tracker")
        tracked = tracker.config[store][1]
        kept = [replaced(item, others) for item in private.of(layer, "_tracker").config[store][1]]
        kept = [item for item in kept if item is not None]
        more = [item for item in tracked if not any(item is other for other in kept)]
        tracked[:] = [*kept, *more]
        tracker.stored_ids[store] = {id(item) for item in tracked}


@functools.cache
def _own(cls):
    """The attributes that each object creates for itself."""
    own = {"build", "quantize", "_tracker", "_losses", "_loss_ids", "_losses_override", "_call_signature"}
    own |= {"_inbound_nodes", "_outbound_nodes", "_torch_params", "_functional", "_layers", "_tracked"}
    own |= {f"_{store}" for store in STORES}
    own |= {"_parameters", "_buffers", "_non_persistent_buffers_set", "_modules"}  # of torch.nn.Module
    own |= {name for name in vars(keras.layers.Layer()) if name.startswith(("_self_", "_saved_model"))}
    return own | of_trainers() if issubclass(cls, keras.Model) else own


@functools.cache
def of_trainers():
    """The attributes of a model that a layer does not have: what `compile` sets, and compiled functions."""
    own = vars(_Empty()).keys() - vars(keras.layers.Layer()).keys()
    return own | {"optimizer", "_compile_config", "_compiled_trainable_state", "stop_training"}


def compile_as(model, other):
    """Compile `model` like `other`, a model that is no longer trained."""
    for name in of_trainers() - {"train_function", "test_function", "predict_function"}:
        if name in vars(other):
            with private.find("keras.src.utils.tracking.DotNotTrackScope")():
                setattr(model, name, vars(other)[name])


class _Empty(keras.Model):
    pass


@functools.cache
def _of_graphs():
    """The attributes that make a model a graph of layers."""
    inputs = keras.Input((1,))
    return vars(keras.Model(inputs, keras.layers.Identity()(inputs))).keys() - vars(_Empty()).keys()
