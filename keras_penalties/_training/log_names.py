"""The names of penalties in the logs, each of which is unique. The key of a changing strength ends in
`_strength`, that of a changing loss weight in `_weight`, and that of what a target measures in `_measure`."""

from keras_penalties._keras import layers as keras_layers
from keras_penalties._keras import trainers
from keras_penalties._training.logged_mean import LoggedMean

STRENGTH, WEIGHT, MEASURE = "_strength", "_weight", "_measure"


def strength_keys(penalties, ending: str = STRENGTH) -> dict[int, str]:
    """The ends of the log keys of the strengths of `penalties`, a dict by index: with the class if there are
    several, and with the index too if several have the same class."""
    kinds = {i: type(penalty).__name__.lower() for i, penalty in penalties.items()}
    keys = {i: ending if len(kinds) == 1 else f"_{kinds[i]}{ending}" for i in kinds}
    return keys | {i: f"_{kinds[i]}_{i}{ending}" for i in kinds if [*kinds.values()].count(kinds[i]) > 1}


def measure_key(strength_key: str, ending: str = STRENGTH) -> str:
    """The end of the log key of what a target measures, whose strength is logged with `strength_key`."""
    return strength_key.removesuffix(ending) + MEASURE


def gathered(layer) -> list:
    """The metrics of `layer`, whose means are in `logged`, under names that no other metric of the model has.

    Keras shows a metric under its name; of two metrics with the same name it shows only the last. So layers
    whose names clash are numbered when Keras collects the metrics of a model: `sparsity`, `sparsity_1`.
    """
    gathering = trainers.Gathering(depth=1)
    if gathering.again:
        return []
    if gathering.model is not None and not any(isinstance(m, LoggedMean) for m in gathering.before):
        _number(gathering.model)
    return layer.logged


def _number(model):
    layers, taken = list(_logging_layers(model)), trainers.shown_names(model, LoggedMean)
    given = {name for layer in layers for name in _names(layer, layer.name)}
    for layer in layers:
        names, number = _names(layer, layer.name), 0
        while taken & names or (number and given & names):
            number += 1
            names = _names(layer, f"{layer.name}_{number}")
        taken |= names
        for mean in layer.logged:
            mean.name = f"{layer.name}_{number}{mean.key}" if number else f"{layer.name}{mean.key}"


def _names(layer, name) -> set:
    """The keys in the logs of a layer under `name`."""
    return {f"{name}{mean.key}" for mean in layer.logged}


def _logging_layers(layer, done=None):
    """The layers inside `layer` that have means, in the order in which they were created."""
    done = set() if done is None else done
    for inner in keras_layers.sublayers(layer):
        if id(inner) not in done:
            done.add(id(inner))
            if hasattr(inner, "logged"):
                yield inner
            yield from _logging_layers(inner, done)
