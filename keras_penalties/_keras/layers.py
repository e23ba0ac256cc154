"""What Keras keeps private of layers: the layers and variables within them, flags, copies."""

import contextlib

import keras
from keras.src.saving.serialization_lib import ObjectSharingScope
from keras.src.utils import python_utils

from keras_penalties._keras import copies, graphs


def with_flags_of(model, other):
    """`other` with the dtype policy and the flag `trainable` of `model`; those of its layers stay."""
    if other.dtype_policy != model.dtype_policy:
        other.dtype_policy = model.dtype_policy
    other._trainable = model.trainable
    return other


def around_the_same_variables(layer, **changes):
    """A layer like `layer`, with `changes` to its configuration, that uses the variables of `layer`."""
    other = type(layer).from_config({**layer.get_config(), **changes})
    variables = {variable.name: variable for variable in layer.variables}
    frozen = [v for v in layer._trainable_variables if not v.trainable]
    for variable in frozen:  # or they would be filed with what is never trained
        variable.trainable = True
    other.add_weight = lambda *args, name=None, **kwargs: variables[name]
    other.build_from_config(layer.get_build_config())
    del other.add_weight
    for variable in frozen:
        variable.trainable = False
    return other


def never_recomputed(layer):
    """Leave `layer` out of a `keras.RematScope`. JAX would trace it apart from the model, and what it adds to
    the loss could not leave that trace."""
    layer._remat_mode = None


def allow_state(layer):
    """Let `layer` get state again. `quantize` (keras/src/layers/layer.py) locks each layer without
    sublayers, whether it quantizes it or not."""
    layer._tracker.unlock()


def sublayers(layer) -> list:
    """The layers that `layer` holds itself, not those within them."""
    return layer._flatten_layers(include_self=False, recursive=False)


def all_sublayers(layer) -> list:
    """The layers within `layer`, at any depth."""
    return layer._flatten_layers(include_self=False)


def held_by(layer) -> list:
    """The layers that `layer` holds itself: those of its graph, those that it tracks, and those that it has
    as attributes. KerasHub's models have some (`token_embedding`) that a layer within them tracks."""
    within = [*graphs.operations(layer), *sublayers(layer), *copies.layers_in_attributes(layer)]
    layers = [inner for inner in within if isinstance(inner, keras.layers.Layer)]
    return list({id(inner): inner for inner in layers}.values())


def has_build(cls) -> bool:
    """Whether `cls` has a `build` of its own, which Keras calls instead of running the layer through once."""
    return not python_utils.is_default(cls.build)


def forget(layer, others):
    """Let `layer` no longer track `others`."""
    for other in others:
        layer._tracker.untrack(other)


@contextlib.contextmanager
def unlocked(layer):
    """Within, a built layer may be given more to hold."""
    locked = layer._tracker.locked
    layer._tracker.unlock()
    try:
        yield
    finally:
        if locked:
            layer._tracker.lock()


def own_variables(layer) -> list:
    """The variables of `layer` itself, random seeds included, without those of the layers within it."""
    seeds = [generator.state for generator in layer._seed_generators]
    return [*layer._trainable_variables, *layer._non_trainable_variables, *seeds]


def sharing():
    """A scope in which layers that a configuration holds more than once stay one layer."""
    return ObjectSharingScope()


def takes_training(layer) -> bool:
    """Whether `call` of `layer` has an argument `training`. Keras hands it down to layers that have it."""
    return layer._call_has_training_arg
