"""Private parts of layers: the layers and variables inside them, flags, copies."""

import contextlib

import keras

from keras_penalties._keras import copies, graphs, private


def with_flags_of(model, other):
    """`other` with the dtype policy and the flag `trainable` of `model`; those of its layers do not
    change."""
    if other.dtype_policy != model.dtype_policy:
        other.dtype_policy = model.dtype_policy
    private.put(other, "_trainable", model.trainable)  # the setter would change its layers too
    return other


def around_the_same_variables(layer, **changes):
    """A layer like `layer`, with `changes` to its configuration, that uses the variables of `layer`."""
    other = type(layer).from_config({**layer.get_config(), **changes})
    variables = {variable.name: variable for variable in layer.variables}
    frozen = [v for v in private.of(layer, "_trainable_variables") if not v.trainable]
    for variable in frozen:  # otherwise they would be listed as never trained
        variable.trainable = True
    other.add_weight = lambda *args, name=None, **kwargs: variables[name]
    other.build_from_config(layer.get_build_config())
    del other.add_weight
    for variable in frozen:
        variable.trainable = False
    return other


def never_recomputed(layer):
    """Exclude `layer` from a `keras.RematScope`. JAX would trace it separately from the model, and what it
    adds to the loss could not leave that trace."""
    private.put(layer, "_remat_mode", None)


def is_rematerialized(layer) -> bool:
    """Whether `layer` was created in a `keras.RematScope`: it is recomputed in the backward pass (Keras:
    `src/backend/common/remat.py`)."""
    return isinstance(layer, keras.layers.Layer) and private.of(layer, "_remat_mode") is not None


def allow_state(layer):
    """Allow `layer` to get state again. `quantize` (keras/src/layers/layer.py) locks each layer without
    sublayers, whether it quantizes it or not."""
    private.of(layer, "_tracker").unlock()


def activity_regularizers(layer) -> dict:
    """The regularizers of the output of `layer`, by attribute: attention layers have a second one, which they
    pass to their parts, and Keras itself does not use (keras/src/layers/attention)."""
    names = ("activity_regularizer", "_activity_regularizer")
    return {name: vars(layer)[name] for name in names if vars(layer).get(name) is not None}


def handed_down_regularizer(layer):
    """The `activity_regularizer=` of `layer`, which it may pass to its parts, or None."""
    found = activity_regularizers(layer)
    return found.get("_activity_regularizer", getattr(layer, "activity_regularizer", None))


def list_held(layer, others):
    """Add `others` to the sublayers of `layer`: up to Keras 3.13, a graph lists only its operations."""
    listed = private.of(layer, "_layers")
    for other in others:
        if all(other is not held for held in listed):
            listed.append(other)


def place_among_tracked(holder, layer) -> tuple:
    """The index of `layer` among the layers that Keras tracks for `holder`, after the attribute."""
    return next((("_layers", i) for i, held in enumerate(private.of(holder, "_layers")) if held is layer), ())


def sublayers(layer) -> list:
    """The direct sublayers of `layer`."""
    return private.of(layer, "_flatten_layers")(include_self=False, recursive=False)


def all_sublayers(layer) -> list:
    """The sublayers of `layer`, at any depth."""
    return private.of(layer, "_flatten_layers")(include_self=False)


def held_by(layer) -> list:
    """The layers directly inside `layer`: those of its graph, those that it tracks, and those in its
    attributes. KerasHub's models have attributes (`token_embedding`) that a layer inside them tracks."""
    within = [*graphs.operations(layer), *sublayers(layer), *copies.layers_in_attributes(layer)]
    layers = [inner for inner in within if isinstance(inner, keras.layers.Layer)]
    return list({id(inner): inner for inner in layers}.values())


def identity_like(layer):
    """A layer that returns its input, as a replacement of `layer` with the same name."""
    return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy.name, autocast=False)


def has_build(cls) -> bool:
    """Whether `cls` has its own `build`, which Keras calls instead of running the layer once."""
    return not private.find("keras.src.utils.python_utils.is_default")(cls.build)


def forget(layer, others):
    """Stop `layer` from tracking `others`."""
    for other in others:
        private.of(layer, "_tracker").untrack(other)


@contextlib.contextmanager
def unlocked(layer):
    """Allow new sublayers and attributes of a built layer inside the context."""
    tracker = private.of(layer, "_tracker")
    locked = tracker.locked
    tracker.unlock()
    try:
        yield
    finally:
        if locked:
            tracker.lock()


def own_variables(layer) -> list:
    """The variables of `layer` itself, random seeds included, without those of its sublayers."""
    weights = [*private.of(layer, "_trainable_variables"), *private.of(layer, "_non_trainable_variables")]
    return [*weights, *(generator.state for generator in private.of(layer, "_seed_generators"))]


def sharing():
    """A scope in which a layer that a configuration contains more than once stays one layer."""
    return private.find("keras.src.saving.serialization_lib.ObjectSharingScope")()


def is_training() -> bool:
    """Whether the outermost layer that runs was called with `training=True`."""
    get = private.find("keras.src.backend.common.global_state.get_global_attribute")
    context = get("current_call_ctx")
    return bool(context is not None and getattr(context, "training", None))


def takes_training(layer) -> bool:
    """Whether `call` of `layer` has an argument `training`. Keras passes it down to layers that have it."""
    return private.of(layer, "_call_has_training_arg")
