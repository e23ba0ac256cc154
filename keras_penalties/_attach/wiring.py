"""Models anew around the same layers, with penalties between them."""

import warnings

import keras
from keras import tree

from keras_penalties._attach.spots import unique
from keras_penalties._keras import graphs
from keras_penalties._keras import layers as keras_layers
from keras_penalties.layers import ActivityPenalty
from keras_penalties.models import _graph


class Wiring:
    """The penalties of `spots`, ready to be put into the model that they were found in."""

    def __init__(self, model, spots, where):
        self.before, self.between, self.after = {}, {}, {}
        place = {"input": self.before, "preactivation": self.between, "output": self.after}[where]
        for spot in spots:
            penalty = ActivityPenalty(spot.penalty, name=spot.name)
            place.setdefault((spot.path, spot.use), []).append((spot.index, penalty))
        self.split = _split([spot.layer for spot in spots], model) if where == "preactivation" else {}
        self.paths = {spot.path for spot in spots}
        self.done = {}

    def wire(self, model, path=()):
        """`model`, which lies at `path`, with its penalties; itself if there are none in it."""
        if not self._touches(model, path):
            return model
        if path not in self.done:
            anew = self._sequential if isinstance(model, keras.Sequential) else self._functional
            self.done[path] = keras_layers.with_flags_of(model, anew(model, path))
            _warn_of_another_order(model, self.done[path])
        return self.done[path]

    def _touches(self, model, path):
        inside = any(p[: len(path)] == path for p in self.paths)
        return inside or any(id(layer) in self.split for layer in keras_layers.all_sublayers(model))

    def _steps(self, layer, path, use):
        """What is called one after another in place of `layer`."""
        if _graph._is_graph(layer):
            return [self.wire(layer, path)]
        penalties = [penalty for _, penalty in self.between.get((path, use), [])]
        if id(layer) not in self.split:
            return [layer, *penalties]
        linear, activation = self.split[id(layer)]
        return [linear, *penalties, activation]

    def _sequential(self, model, path):
        layers = []
        for layer in model.layers:
            at = (*path, layer.name)
            layers += [penalty for _, penalty in self.before.get((at, 0), [])]
            layers += self._steps(layer, at, 0)
            layers += [penalty for _, penalty in self.after.get((at, 0), [])]
        return keras.Sequential([model.inputs[0], *layers], name=model.name)

    def _functional(self, model, path):
        uses = {name: iter(calls) for name, calls in graphs.graph_calls(model).items()}

        def call(layer, *args, **kwargs):
            use, _ = next(uses[layer.name])
            at = (*path, layer.name)
            penalties = self.before.get((at, use), [])
            if penalties and args:
                args = (_through(penalties, args[0]), *args[1:])
            elif penalties:
                first = next(iter(kwargs))
                kwargs[first] = _through(penalties, kwargs[first])
            first, *others = self._steps(layer, at, use)
            outputs = first(*args, **kwargs)
            for step in others:
                outputs = step(outputs)
            return _through(self.after.get((at, use), []), outputs)

        return graphs.rewire(model, call)


def _warn_of_another_order(old, new):
    """Say it where a penalty on one of several branches makes Keras list their layers in another order."""

    def order(model):
        layers = [layer for layer in model.layers if layer.weights and not isinstance(layer, ActivityPenalty)]
        layers.sort(key=lambda layer: type(layer).__name__)  # a file counts the layers of each class
        return [layer.name for layer in layers]

    if order(old) != order(new):
        warnings.warn(
            f"With these penalties, Keras lists the layers of '{old.name}' in another order, which is the "
            "order of a `.weights.h5` file. Load such a file of the model without penalties into that model: "
            "the penalized one has the same weights. A `.keras` file is not affected.",
            stacklevel=4,
        )


def _through(penalties, tensors):
    """`tensors`, of which each of `penalties`, pairs of index and layer, has seen its own."""
    flat = tree.flatten(tensors)
    for index, penalty in penalties:
        if index is not None and index >= len(flat):
            raise ValueError(
                f"`penalties` of penalize asks for tensor :{index} in '{penalty.name}', and the layer is "
                f"called on {len(flat)}. Count from 0."
            )
        if index is None and len(flat) > 1:
            flat = penalty(flat)
        else:
            flat[index or 0] = penalty(flat[index or 0])
    return tree.pack_sequence_as(tensors, flat)


def _split(layers, model):
    """For each of `layers` with an activation, by its id: a layer without it on the same variables, and the
    activation, with what punishes it."""
    taken = {layer.name for layer in [model, *keras_layers.all_sublayers(model)]}
    parts = {}
    for layer in layers:
        if id(layer) not in parts and layer.activation is not keras.activations.linear:
            linear = keras_layers.around_the_same_variables(layer, activation=None, activity_regularizer=None)
            activation = keras.layers.Activation(
                layer.activation,
                activity_regularizer=layer.activity_regularizer,
                dtype=layer.dtype_policy,
                name=unique(f"{layer.name}_activation", taken),
            )
            parts[id(layer)] = linear, activation
    return parts
