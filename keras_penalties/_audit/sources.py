"""The layers and hidden terms that can add to the loss of a model."""

from dataclasses import dataclass

import keras

from keras_penalties._keras import layers as keras_layers
from keras_penalties._tensors.tapped import Tapped
from keras_penalties.layers import ActivityPenalty
from keras_penalties.models import HiddenOutputs
from keras_penalties.schedules import _strength


@dataclass
class Source:
    """A layer, or a hidden term, that can add to the loss.

    Attributes:
        name: the name in the logs, or of the layer.
        at: where it is: a path of layers' names, or the name of the tensor that was given to `penalize` or
            `HiddenOutputs`.
        way: how it was attached.
        layer: the layer, or the hidden term.
        above: the layers around it, outermost first.
        penalties: the user's penalties; None for a bare `add_loss`.
    """

    name: str
    at: str
    way: str
    layer: object
    above: tuple
    penalties: list


def find_sources(model) -> list:
    """Everything that could add to the loss of `model`, whether or not it does."""
    found, root = [], model
    if isinstance(model, HiddenOutputs):
        root = model.get_running_model()
        for term in model.terms:
            given = term.penalties or [term.loss]
            found.append(Source(term.key, ", ".join(term.names), "HiddenOutputs", term, (), given))
    for at, layer, above in _walk(root):
        regularizer = getattr(layer, "activity_regularizer", None)
        source = Source(layer.name, at or layer.name, "", layer, above, [])
        if isinstance(layer, ActivityPenalty):
            source.way, source.penalties = "ActivityPenalty", list(layer.get_term().penalties)
        elif regularizer is not None:
            source.way, source.penalties = "activity_regularizer", [regularizer]
        else:
            source.way, source.penalties = "add_loss", [None]
        found.append(source)
    return found


def needs_training(source) -> bool:
    """Whether a penalty layer has to know whether a step is a training step."""
    if source.way != "ActivityPenalty":
        return False
    strengths = [getattr(penalty, "strength", None) for penalty in source.penalties]
    return source.layer.training_only or any(map(_strength.is_moving, strengths))


def _walk(layer, at="", above=(), done=None):
    """`layer` and those within it, each once: where it is, the layer, and the layers around it."""
    done = set() if done is None else done
    if id(layer) in done:
        return
    done.add(id(layer))
    yield at, layer, above
    if isinstance(layer, ActivityPenalty):
        return
    inside = [layer.student] if is_distiller(layer) else keras_layers.sublayers(layer)
    # A penalty that `penalize` has put on a layer is at the tensor that it names.
    parts = {id(r.layer): r.part for r in layer.receivers.all} if isinstance(layer, Tapped) else {}
    for inner in inside:
        named = f"{at or layer.name}{parts[id(inner)]}" if id(inner) in parts else None
        below = f"{at}/{inner.name}" if at else inner.name
        yield from _walk(inner, named or below, (*above, layer), done)


def is_distiller(layer) -> bool:
    distillation = getattr(keras, "distillation", None)
    return distillation is not None and isinstance(layer, distillation.Distiller)
