"""Hidden tensors of a model, found by name.

A reference is a layer's name, or a path into nested models: `"vgg16/block3_conv3"`. `"lstm:1"` is a
layer's second output, `"encoder@1"` the second use of a layer that the model calls more than once.
"""

import difflib
import re
from collections.abc import Mapping

import keras
from keras import tree

from keras_penalties._keras import graphs

OWN_STEPS = ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics", "call")


def as_functional(model):
    """`model` as a graph: a Sequential model is one around its own layers."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model


def expose(model, references: dict):
    """A model that shares `model`'s layers and gives `[its outputs, {name: hidden tensor}]`.

    Args:
        model: a built functional or Sequential model.
        references: `{name: path}`, each path a list of parts as `find` gives it.
    """
    graph = as_functional(model)
    hidden = {}
    if any(len(path) > 1 for path in references.values()):
        graph, calls, hidden = _rewire(graph, references)
    else:
        calls = graphs.graph_calls(graph)
        calls = {(op, use): tensors for op in calls for use, tensors in calls[op]}
    for name, path in references.items():
        if len(path) == 1:
            operation, use, output = path[0]
            hidden[name] = calls[operation, use][output]
    return keras.Model(graph.input, [graph.output, hidden], name=model.name)


def _rewire(graph, references):
    """Call `graph`'s layers anew, with each nested model extended by what is wanted from inside it."""
    uses = {operation: iter(calls) for operation, calls in graphs.graph_calls(graph).items()}
    inside = {}
    for name, path in references.items():
        if len(path) > 1:
            inside.setdefault(path[0][0], {})[name] = path[1:]
    extended, calls, hidden = {}, {(t.name, 0): [t] for t in graph.inputs}, {}

    def call(operation, *args, **kwargs):
        use, _ = next(uses[operation.name])
        if operation.name in inside:
            if operation.name not in extended:
                extended[operation.name] = expose(operation, inside[operation.name])
            outputs, found = extended[operation.name](*args, **kwargs)
            hidden.update({name: t for name, t in found.items() if references[name][0][1] == use})
        else:
            outputs = operation(*args, **kwargs)
        calls[operation.name, use] = tree.flatten(outputs)
        return outputs

    graph = keras.models.clone_model(
        graph, input_tensors=graph.input, clone_function=lambda layer: layer, call_function=call
    )
    return graph, calls, hidden


def find(model, reference: str, argument="hidden") -> list:
    """`reference` as parts `(layer, use, output)`, one for each model on the way."""
    known = dict(_walk(model))
    parts = reference.split("/")
    matches = [path for path in known if _matches(path, parts)]
    exact = [path for path in matches if len(path) == len(parts)]
    matches = exact or matches
    if not matches:
        names = ["/".join(path) for path in known]
        near = difflib.get_close_matches(reference, names, n=3, cutoff=0.5)
        near += [n for n in names if n.rsplit("/", 1)[-1] == parts[-1] and n not in near]
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"It has {_some(names)}."
        raise ValueError(
            f"`{argument}` names '{reference}', and the model '{model.name}' has no such layer. {hint}"
            f"{_inside_wrapper(model, parts)}"
        )
    if len(matches) > 1:
        raise ValueError(
            f"`{argument}` names '{reference}', which several layers of the model '{model.name}' match: "
            f"{', '.join(repr('/'.join(m)) for m in matches)}. Give the whole path of one."
        )
    path = list(matches[0])
    given = [*path[: len(path) - len(parts)], *parts]
    return [
        _part(part, name, known, tuple(path[: i + 1]), reference, argument)
        for i, (part, name) in enumerate(zip(given, path, strict=True))
    ]


def reference_to(model, tensor, argument="hidden") -> str:
    """The reference of a symbolic tensor of `model`'s own graph."""
    for operation, calls in graphs.graph_calls(as_functional(model)).items():
        for use, tensors in calls:
            for output, candidate in enumerate(tensors):
                if candidate is tensor:
                    use = f"@{use}" if len(calls) > 1 else ""
                    return f"{operation}{use}" + (f":{output}" if len(tensors) > 1 else "")
    raise ValueError(
        f"`{argument}` holds the tensor {tensor}, which the model '{model.name}' does not compute on the "
        "way to its outputs. Take a tensor of the same graph, or a layer's name."
    )


def _walk(model, above=()):
    """All layers, nested ones behind their model: pairs of path and the calls of that layer."""
    graph = as_functional(model)
    operations = {operation.name: operation for operation in graph.operations}
    for name, calls in graphs.graph_calls(graph).items():
        yield (*above, name), calls
        inner = operations.get(name)
        if _is_graph(inner):
            yield from _walk(inner, (*above, name))


def _is_graph(layer):
    """Whether `layer` does nothing but run a graph of layers, so that an extended graph may replace it."""
    is_model = isinstance(layer, keras.Sequential) or graphs.is_functional(layer)
    return is_model and not graphs.overridden(layer, ["call"])


def _matches(path, parts):
    tail = path[-len(parts) :]
    return len(tail) == len(parts) and all(
        part == name or re.sub(r"(@\d+)?(:\d+)?$", "", part) == name
        for part, name in zip(parts, tail, strict=True)
    )


def _part(part, name, known, path, reference, argument):
    suffix = re.fullmatch(r"(?:@(\d+))?(?::(\d+))?", part[len(name) :])
    use, output = suffix.groups() if suffix else (None, None)
    calls = known[path]
    if use is None and len(calls) > 1:
        choices = ", ".join(repr(f"{name}@{i}") for i in range(len(calls)))
        raise ValueError(
            f"`{argument}` names '{reference}', and '{name}' is used {len(calls)} times, so that several "
            f"tensors match. Say which use: {choices}."
        )
    use, output = int(use or 0), int(output or 0)
    outputs = dict(calls).get(use)
    if outputs is None or output >= len(outputs):
        raise ValueError(
            f"`{argument}` names '{reference}', and '{name}' is used {len(calls)} time(s) and gives "
            f"{len(calls[0][1])} tensor(s) each time. Count both from 0: '{name}@0:0'."
        )
    return name, use, output


def _inside_wrapper(model, parts):
    for layer in as_functional(model).layers:
        inner = [sub.name for sub in layer._flatten_layers(include_self=False)]
        if parts[-1] in inner and not _is_graph(layer):
            return (
                f" '{parts[-1]}' is inside '{layer.name}' ({type(layer).__name__}), which is no graph of "
                f"layers: name '{layer.name}' itself, or put an `ActivityPenalty` behind it."
            )
    return ""


def _some(names, most=12):
    return ", ".join(map(repr, names[:most])) + (", ..." if len(names) > most else "")


REWIRED = (
    "whose layers cannot be wired anew. Call a `keras_penalties.layers.ActivityPenalty` in its `call`, or "
    "give its layers `activity_regularizer=`."
)


def check_graph(model, owner, kinds="a functional or Sequential model", subclassed=REWIRED):
    """Refuse what is no built graph of layers; `subclassed` says what to do with a model of another kind."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` of {owner} must be a Keras model. Received: {model!r} (of type {type(model).__name__})."
        )
    if not (isinstance(model, keras.Sequential) or graphs.is_functional(model)):
        raise ValueError(
            f"`model` of {owner} must be {kinds}. '{model.name}' ({type(model).__name__}) is a subclassed "
            f"one, {subclassed}"
        )
    if isinstance(model, keras.Sequential) and not (model.built and model.inputs):
        raise ValueError(
            f"`model` of {owner} must be built. '{model.name}' does not know its input's shape. "
            "Begin it with `keras.Input(shape)`, or call it on a batch first."
        )


def check_model(model, owner="HiddenOutputs"):
    """Refuse what cannot be wired anew, or would train otherwise once that is done."""
    check_graph(model, owner)
    own = graphs.overridden(model, OWN_STEPS)
    if own:
        raise ValueError(
            f"`model` of {owner} must train as Keras does. '{model.name}' ({type(model).__name__}) "
            f"has its own {', '.join(f'`{name}`' for name in own)}, which {owner} would pass over. Put "
            "`keras_penalties.layers.ActivityPenalty` layers into the model instead."
        )


def references(model, hidden) -> dict:
    """What the user gave as `hidden`, as a dict of name to reference."""
    if isinstance(hidden, str):
        raise TypeError(
            f"`hidden` must be a list of names or a dict of name to reference. Received: {hidden!r}. "
            f"Write [{hidden!r}]."
        )
    pairs = hidden.items() if isinstance(hidden, Mapping) else [(name, name) for name in hidden]
    found = {}
    for name, reference in pairs:
        if isinstance(reference, keras.KerasTensor):
            if name is reference:
                raise TypeError(
                    "`hidden` holds a tensor without a name. Use a dict: hidden={'my_name': tensor}."
                )
            reference = reference_to(model, reference)
        if not isinstance(reference, str) or not isinstance(name, str):
            raise TypeError(
                "`hidden` must hold names of layers, or a dict of name to a layer's name or symbolic "
                f"tensor. Received: {reference!r} (of type {type(reference).__name__})."
            )
        if name in found:
            raise ValueError(f"`hidden` names {name!r} twice. Name each hidden tensor once.")
        found[name] = reference
    return found
