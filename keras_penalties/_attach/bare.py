"""A model's configuration without penalties, and the model of that configuration with equal weights."""

import keras
import numpy as np
from keras import ops, tree

from keras_penalties._keras import layers as keras_layers
from keras_penalties._serialization import PACKAGE
from keras_penalties.layers import ActivityPenalty
from keras_penalties.models import _graph
from keras_penalties.regularizers import Penalty

SUBCLASSED = (
    "which only its own code can change. Strip the models that it holds, or make it without penalties and "
    "copy its weights."
)
PENALTY_LAYER = keras.saving.get_registered_name(ActivityPenalty)


def strip(model, batch=None):
    """`kp.strip`, of a model that is not wrapped."""
    _graph.check_graph(model, "strip", "a functional or Sequential model, or a HiddenOutputs", SUBCLASSED)
    with keras_layers.sharing():
        config = _clean(keras.saving.serialize_keras_object(model))
    left = sorted(_left(config))
    if left:
        raise ValueError(
            f"`model` of strip has parts of this package that are no penalties: {', '.join(left)}. They "
            f"compute what '{model.name}' gives, so that it cannot be had without them. Use "
            "`model.export(folder)`, which TensorFlow loads by itself."
        )
    classes = {keras.saving.get_registered_name(type(layer)): type(layer) for layer in _layers(model)}
    with keras_layers.sharing():
        bare = keras.saving.deserialize_keras_object(config, custom_objects=classes, safe_mode=False)
    hidden = [layer for layer in _layers(bare) if isinstance(layer, ActivityPenalty)]
    if hidden:
        owners = [layer for layer in _layers(bare) if hidden[0] in keras_layers.sublayers(layer)]
        raise ValueError(
            f"`model` of strip has the penalty '{hidden[0].name}' in the code of {type(owners[0]).__name__}, "
            "and not in its configuration. Take it out of that class."
        )
    _copy(model, bare)
    _compare(model, bare, batch)
    return bare


def _layers(model):
    return [model, *keras_layers.all_sublayers(model)]


def _clean(node):
    """A configuration without penalties, at any depth, and without what was compiled."""
    if isinstance(node, (list, tuple)):
        return type(node)(_clean(item) for item in node)
    if not isinstance(node, dict):
        return node
    node = {key: _clean(value) for key, value in node.items() if key != "compile_config"}
    if _is_penalty(node.get("activity_regularizer")):
        node["activity_regularizer"] = None
    layers = node.get("layers")
    if isinstance(layers, list) and any(_is(layer, PENALTY_LAYER) for layer in layers):
        return _clean_functional(node) if "output_layers" in node else _clean_sequential(node)
    return node


def _is(node, registered_name):
    return isinstance(node, dict) and node.get("registered_name") == registered_name


def _is_penalty(node):
    found = (
        keras.saving.get_registered_object(node.get("registered_name")) if isinstance(node, dict) else None
    )
    return isinstance(found, type) and issubclass(found, Penalty)


def _clean_sequential(config):
    layers = []
    for layer in config["layers"]:
        taken_apart = len(layers) > 1 and _is(layers[-1], PENALTY_LAYER) and _belongs(layer, layers[-2])
        if taken_apart and _split_by(layers[-1]):
            layers.pop()
            _put_together(layers[-1], layer)
        else:
            layers.append(layer)
    return {**config, "layers": [layer for layer in layers if not _is(layer, PENALTY_LAYER)]}


def _clean_functional(config):
    """The graph without its penalties: who takes what a penalty gives takes what it was given."""
    layers = {layer["name"]: layer for layer in config["layers"]}
    given = {}  # what a dropped layer gives, as (name, call, index), to what it was given
    for layer in config["layers"]:
        if _is(layer, PENALTY_LAYER):
            given |= _given(layer)
    for layer in config["layers"]:
        sources = list(_given(layer).values())
        own = [
            layers[given[source][0]] for source in sources if source in given and _split_by(layers[source[0]])
        ]
        if own and all(_belongs(layer, linear) for linear in own):
            _put_together(own[0], layer)
            given |= _given(layer)
    dropped = {name for name, _, _ in given}
    return _follow({**config, "layers": [v for k, v in layers.items() if k not in dropped]}, given)


def _given(layer):
    """For each tensor that a layer gives as it was given it: (name, call, index) to where that comes from."""
    given = {}
    for call, node in enumerate(layer["inbound_nodes"]):
        first = node["args"][0] if node["args"] else node["kwargs"].get("inputs")
        for index, source in enumerate(_sources(first)):
            given[layer["name"], call, index] = source
    return given


def _sources(node):
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        yield tuple(node["config"]["keras_history"])
    elif isinstance(node, (dict, list, tuple)):
        for item in node.values() if isinstance(node, dict) else node:
            yield from _sources(item)


def _follow(node, given):
    """`node`, in which each reference to a dropped layer's tensor leads to where that comes from."""
    if isinstance(node, dict):
        return {key: _follow(value, given) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        if [type(part) for part in node] == [str, int, int] and tuple(node) in given:
            return _follow([*given[tuple(node)]], given)
        return type(node)(_follow(item, given) for item in node)
    return node


def _split_by(penalty):
    return "_preactivation_penalty" in penalty["config"]["name"]


def _belongs(activation, linear):
    """Whether `penalize` has taken `activation` from the layer `linear`."""
    name = linear["config"].get("name")
    return (
        activation.get("class_name") == "Activation" and activation["config"]["name"] == f"{name}_activation"
    )


def _put_together(linear, activation):
    for key in ("activation", "activity_regularizer"):
        linear["config"][key] = activation["config"].get(key)


def _left(node):
    """What of this package a configuration still names."""
    if isinstance(node, (list, tuple)):
        return {name for item in node for name in _left(item)}
    if not isinstance(node, dict):
        return set()
    name = node.get("registered_name")
    own = {name.split(">")[1]} if isinstance(name, str) and name.startswith(f"{PACKAGE}>") else set()
    return own.union(*(_left(value) for value in node.values()))


def _copy(old, new):
    """Give `new` and the layers within it the weights and flags of those of `old`."""
    for target, source in zip(keras_layers.own_variables(new), keras_layers.own_variables(old), strict=True):
        target.assign(ops.copy(source))
        target.trainable = source.trainable
    within = [layer for layer in keras_layers.sublayers(old) if not isinstance(layer, ActivityPenalty)]
    if _graph._is_graph(old):
        by_name = {layer.name: layer for layer in within}
        within = [by_name[layer.name] for layer in keras_layers.sublayers(new)]
    for inner, copy in zip(within, keras_layers.sublayers(new), strict=True):
        _copy(inner, copy)
    keras_layers.with_flags_of(old, new)


def _compare(old, new, batch):
    before, after = _both(old, new, batch)
    for i, (a, b) in enumerate(zip(before, after, strict=True)):
        a, b = (np.asarray(ops.convert_to_numpy(ops.cast(x, "float64"))) for x in (a, b))
        precise = ops.dtype(before[i]) in ("float32", "float64")
        scale = np.max(np.abs(a), initial=0.0, where=np.isfinite(a))
        if not np.allclose(a, b, rtol=0.0, atol=(1e-5 if precise else 1e-2) * scale, equal_nan=True):
            raise ValueError(
                f"strip found no plain model that does what '{old.name}' does: output {i} differs by "
                f"{np.max(np.abs(a - b)):.3g} on {'a random' if batch is None else 'the given'} batch. "
                "A layer's `get_config()` may leave out what its output depends on."
            )


def _both(old, new, batch):
    """The outputs of both models on one batch, flat; the variables that this moves are set back."""
    moved = [v for model in (old, new) for v in model.variables if not v.trainable]
    values = [ops.copy(v) for v in moved]
    error = None
    for x in [batch] if batch is not None else _random_batches(old):
        try:
            return [tree.flatten(model(x, training=False)) for model in (old, new)]
        except Exception as e:
            error = e
        finally:
            for variable, value in zip(moved, values, strict=True):
                variable.assign(value)
    raise ValueError(
        f"strip compares outputs, and '{old.name}' does not run on a batch of random numbers. "
        "Give it one on which it runs: strip(model, batch=x)."
    ) from error


def _random_batches(model, examples=2):
    """Batches of random numbers for the inputs of `model`, axes of any size being 8, 32 or 128 long."""
    random = np.random.default_rng(0)

    def one(spec, size):
        shape = [spec.shape[0] or examples, *(axis or size for axis in spec.shape[1:])]
        if "float" in spec.dtype:
            return ops.convert_to_tensor(random.normal(size=shape), dtype=spec.dtype)
        if spec.dtype == "string":
            return np.full(shape, "a")
        return ops.convert_to_tensor(random.integers(0, 2, shape), dtype=spec.dtype)

    for size in (8, 32, 128):
        yield tree.map_structure(lambda spec, size=size: one(spec, size), _graph.as_functional(model).input)
