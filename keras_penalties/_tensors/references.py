"""The tensors that the argument `hidden` names."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from keras_penalties._tensors.names import Part
from keras_penalties._tensors.search import Search, Tensor


def hidden_tensors(model, hidden) -> dict[str, Tensor]:
    """Each hidden tensor, by the user's name for it."""
    if isinstance(hidden, str):
        raise TypeError(
            f"`hidden` must be a list of names or a dict from names to references. Received: {hidden!r}. "
            f"Write [{hidden!r}]."
        )
    search, found = Search(model, "hidden", "HiddenOutputs"), {}
    pairs = hidden.items() if isinstance(hidden, Mapping) else [(name, name) for name in hidden]
    for name, reference in pairs:
        for key, tensor in _named(search, name, reference):
            if key in found:
                raise ValueError(f"`hidden` names {key!r} twice. Name each hidden tensor once.")
            found[key] = tensor
    return found


def _named(search: Search, name, reference):
    if isinstance(reference, keras.KerasTensor):
        if name is reference:
            raise TypeError(
                "`hidden` contains a tensor without a name. Use a dict: hidden={'my_name': tensor}."
            )
        yield name, search.symbolic(reference)
    elif isinstance(name, str) and isinstance(reference, Mapping):
        yield name, from_config(search, reference)
    elif not isinstance(reference, str) or not isinstance(name, str):
        raise TypeError(
            "`hidden` must contain names of layers, or be a dict from names to a layer's name or a symbolic "
            f"tensor. Received: {reference!r} (of type {type(reference).__name__})."
        )
    elif name == reference and set(reference) & set("*?["):
        for tensor in search.all(reference):
            use = f"@{tensor.use}" if len(tensor.place.calls) > 1 else ""
            yield f"{tensor.place.name}{use}{tensor.part}", tensor
    else:
        yield name, search.one(reference)


def to_config(tensor: Tensor) -> dict:
    """The position of `tensor`, which identifies it after saving and loading: names may be generated."""
    return {
        "steps": [list(step) for step in tensor.place.steps],
        "uses": list(tensor.uses),
        "part": [tensor.part.kind, tensor.part.index],
        "name": tensor.name,
    }


def from_config(search: Search, config: Mapping) -> Tensor:
    steps = [tuple(step) for step in config["steps"]]
    for place in search.places:
        if place.steps == steps:
            return Tensor(place, tuple(config["uses"]), Part(*config["part"]), config["name"])
    raise ValueError(
        f"`hidden` was saved with the tensor of '{config['name']}' at {steps}, but '{search.model.name}' "
        "has no layer there. Has its code changed since?"
    )


def reference_to(tensor: Tensor) -> str:
    """The full name of `tensor`."""
    use = f"@{tensor.use}" if len(tensor.place.calls) > 1 else ""
    return f"{tensor.place.name}{use}{tensor.part}"
