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


def parts_in(value):
    """The layers and symbolic tensors in the value of an attribute: the value itself, or those in containers,
    at any depth."""
    if isinstance(value, (keras.layers.Layer, keras.KerasTensor)):
        yield value
    elif isinstance(value, (list, tuple, set, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from parts_in(item)


def layers_in_attributes(layer):
    """The layers in the attributes of `layer` that its copy shares."""
    own = _own(type(layer))
    for name, value in attributes(layer).items():
        if name not in own:
            yield from (part for part in parts_in(value) if isinstance(part, keras.layers.Layer))


def replaced(value, others: dict):
    """`value`, in which each layer or symbolic tensor whose id is a key of `others` is replaced by the one
    there."""
    if isinstance(value, (keras.layers.Layer, keras.KerasTensor)):
        return others.get(id(value), value)
    if not any(id(part) in others for part in parts_in(value)):
        return value
    if isinstance(value, dict):
        return {key: replaced(item, others) for key, item in value.items()}
    items = [replaced(item, others) for item in value]
    return type(value)(*items) if hasattr(value, "_fields") else _plain(value)(items)


def _plain(value):
    return next(kind for kind in (list, tuple, set) if isinstance(value, kind))


def copy(layer, others: dict, cls=None, outputs=None):
    """A copy of `layer` in which `others` replace layers and symbolic tensors, by the ids of those that they
    replace.

    Args:
        layer: a built layer or model.
        others: the replacements, by id of the original; None removes a layer.
        cls: the class of the copy: that of `layer`, or a subclass of it.
        outputs: for a graph of layers, the outputs of the new graph, on the inputs of `layer`.
    """
    cls = cls or type(layer)
    make: Any = cls.__new__
    new = make(cls)
    if isinstance(layer, keras.Sequential):
        _stack(new, layer, others, outputs)
    elif outputs is not None:
        graphs.Functional.__init__(new, layer.input, outputs, name=layer.name)
    else:
        base = keras.Model if isinstance(layer, keras.Model) else keras.layers.Layer
        base.__init__(new, name=layer.name)
    own = _own(type(new))
    _fill(new, layer, others)
    for name, value in attributes(layer).items():
        if name in own or (graphs.is_functional(layer) and name in _of_graphs()):
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


def _stack(new, model, others, outputs):
    """Make `new` a Sequential model like `model`. Keras would call the layers again for its graph."""
    graph = None if outputs is None else graphs.Functional(graphs.as_functional(model).input, outputs)
    kept = [replaced(layer, others) for layer in private.of(model, "_layers")]
    keras.Sequential.__init__(new, name=model.name)
    for layer in kept if graph is None else graph.layers:
        new.add(layer, rebuild=False)
    if graph is not None:
        private.put(new, "_functional", graph)


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
