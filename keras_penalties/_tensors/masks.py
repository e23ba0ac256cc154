"""Masks that a model takes as an input, for penalties anywhere inside it.

KerasHub's models take a `padding_mask` as an input, which Keras does not hand on with the tensors. A
`MaskSource` is the layer or model that has such an input. While it runs, what is inside it can ask for the
mask by name.
"""

from __future__ import annotations

import inspect
import threading
from contextlib import contextmanager

from keras import ops, tree

from keras_penalties._keras import graphs
from keras_penalties._keras.masks import get_keras_mask

_local = threading.local()


@contextmanager
def available(masks: dict):
    """Let what runs on this thread ask for `masks`, by name."""
    stack = _local.__dict__.setdefault("stack", [])
    stack.append(masks)
    try:
        yield
    finally:
        stack.pop()


def current(name: str, owner: str):
    """The mask of the innermost source that has one called `name`."""
    for masks in reversed(getattr(_local, "stack", [])):
        if name in masks:
            return masks[name]
    raise ValueError(
        f"'{owner}' takes its mask from the input {name!r}, and runs outside of the model that has this "
        "input. Call "
        "the penalized model itself, not layers or tensors taken from it."
    )


def masked(tensor, mask):
    """The mask of `tensor` that Keras keeps, and `mask`: what both count."""
    mask, own = ops.cast(mask, "bool"), get_keras_mask(tensor)
    return mask if own is None else ops.logical_and(mask, ops.cast(own, "bool"))


class MaskSource:
    """A layer that has masks among its inputs. It is mixed into the class of a copied layer.

    Attributes:
        mask_names: the inputs that are masks.
    """

    mask_names: frozenset

    def __call__(self, *args, **kwargs):
        inputs = named_inputs(self, args, kwargs)
        masks = {name: inputs[name] for name in self.mask_names if inputs.get(name) is not None}
        with available(masks):
            return super().__call__(*args, **kwargs)  # type: ignore[misc]


def named_inputs(layer, args: tuple, kwargs: dict) -> dict:
    """What `layer` is called on, by the names of its inputs or of the arguments of its `call`."""
    try:
        found = dict(inspect.signature(type(layer).call).bind_partial(layer, *args, **kwargs).arguments)
    except TypeError:  # `call` refuses them by itself
        return {}
    first = args[0] if args else next(iter(kwargs.values()), None)
    if isinstance(first, dict):
        found |= first
    elif graphs.is_graph(layer):
        names = graphs.input_names(layer)
        found |= dict(zip(names, tree.flatten(first), strict=False))
    return found


def input_names(layer) -> set:
    """The names that `named_inputs` can give, as far as they are known before `layer` is called."""
    names = set(inspect.signature(layer.call).parameters)
    return names | set(graphs.input_names(layer)) if graphs.is_graph(layer) else names
