"""Masks that are an input of a model, for penalties anywhere inside it.

KerasHub's models take a `padding_mask` as an input, which Keras does not pass on with the tensors. A
`MaskSource` is the layer or model that has such an input. While it runs, everything inside it can get the
mask by name.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterable, Mapping
from contextlib import contextmanager

from keras import ops

from keras_penalties._keras import graphs, trainers
from keras_penalties._keras import layers as keras_layers

_local = threading.local()


def mask_names(mask_from, keys: Iterable, argument: str, owner: str) -> dict:
    """The name of the mask for each of `keys`, the keys of `argument`, or None.

    Args:
        mask_from: the user's argument: a name for all, a dict from keys to names, or None.
        keys: the keys that may have a mask.
        argument, owner: where the keys come from, for errors.
    """
    if mask_from is None or isinstance(mask_from, str):
        return dict.fromkeys(keys, mask_from)
    if not isinstance(mask_from, Mapping) or not all(isinstance(name, str) for name in mask_from.values()):
        raise TypeError(
            f"`mask_from` of {owner} must be the name of an input, or a dict from keys of `{argument}` to "
            f"names. Received: {mask_from!r}."
        )
    keys = list(keys)
    unknown = [key for key in mask_from if key not in keys]
    if unknown:
        raise ValueError(
            f"`mask_from` of {owner} has the key {unknown[0]!r}, which is not a key of `{argument}`. Use "
            "the same keys."
        )
    return {key: mask_from.get(key) for key in keys}


@contextmanager
def available(masks: dict):
    """Make `masks` available by name to code on this thread."""
    stack = _local.__dict__.setdefault("stack", [])
    stack.append(masks)
    try:
        yield
    finally:
        stack.pop()


class NoMask(ValueError):
    """The input from which a penalty takes its mask is not available."""


def current(name: str, owner: str):
    """The mask called `name` of the innermost source that has one; `NoMask` is raised if no source has it."""
    is_input = False
    for masks in reversed(getattr(_local, "stack", [])):
        if masks.get(name) is not None:
            return masks[name]
        is_input |= name in masks
    if is_input:
        why = f"which was not passed in this call. Pass it: `model(x, {name}=...)`"
    else:
        why = (
            "and runs outside of the model that has this input. Call the penalized model itself, not layers "
            "or tensors taken from it"
        )
    raise NoMask(f"'{owner}' takes its mask from the input {name!r}, {why}.")


def is_needed() -> bool:
    """Whether a step of training or evaluation runs: it needs everything that is added to its loss."""
    return keras_layers.is_training() or trainers.caller() == "step"


def of_scores(mask, scores):
    """A mask of `(batch, steps)` for attention scores of `(batch, heads, queries, keys)`: that of the
    queries, or of the keys if there are not as many steps as queries. Other masks are unchanged."""
    if mask is None or len(mask.shape) != 2 or len(scores.shape) != 4:
        return mask
    queries, steps = scores.shape[2], mask.shape[1]
    axes = (1, 2) if None not in (queries, steps) and queries != steps else (1, 3)
    return ops.expand_dims(mask, axes)


class MaskSource:
    """A layer that has masks among its inputs: a mixin for the class of a copied layer."""

    def masks_in(self, args: tuple, kwargs: dict) -> dict:
        """Its inputs, any of which may be a mask, by name; None for one that was not passed."""
        return dict.fromkeys(input_names(self)) | named_inputs(self, args, kwargs)


def named_inputs(layer, args: tuple, kwargs: dict) -> dict:
    """The arguments of `layer`, by the names of its inputs or of the arguments of its `call`."""
    try:
        found = dict(inspect.signature(type(layer).call).bind_partial(layer, *args, **kwargs).arguments)
    except TypeError:  # `call` itself rejects them
        return {}
    first = args[0] if args else next(iter(kwargs.values()), None)
    if graphs.is_graph(layer):
        found |= graphs.given_inputs(layer, first)
    elif isinstance(first, dict):
        found |= first
    return found


def input_names(layer) -> set:
    """The names that `named_inputs` can return, as far as they are known before `layer` is called."""
    if graphs.is_graph(layer):
        return set(graphs.inputs_by_name(layer))
    arguments = inspect.signature(layer.call).parameters.values()
    several = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    keys = (layer.get_build_config() or {}).get("input_shape")  # a dict if the layer was built on a dict
    names = {each.name for each in arguments if each.kind not in several} - {"training"}
    return names | set(keys if isinstance(keys, dict) else ())
