"""Checks of what a file says about the penalties inside a layer, before any object is created."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from keras_penalties._tensors.tree import is_key
from keras_penalties.layers import ActivityPenalty

KINDS = ("output", "input", "preactivation")


def check(config):
    """Reject what is not the configuration of a layer with penalties inside."""
    _is(config, "the configuration", Mapping, "a dict")
    for key in ("layer", "penalties"):
        if key not in config:
            raise ValueError(
                f"The file of a penalized layer needs the key '{key}'. Received: {short(config)}."
            )
    _is(config["penalties"], "`penalties`", list, "a list")
    for request in config["penalties"]:
        check_request(request)


def check_request(config):
    """Reject an item that does not say where a penalty is."""
    _is(config, "an item of `penalties`", Mapping, "a dict")
    for key in ("steps", "use", "part", "penalty", "mask_from"):
        if key not in config:
            raise ValueError(
                f"Each item of `penalties` in the file needs the key '{key}'. Received: {short(config)}."
            )
    steps, part, mask_from = config["steps"], config["part"], config["mask_from"]
    if not (_is_list(steps) and all(_is_list(step) and all(map(is_key, step)) for step in steps)):
        raise ValueError(
            f"`steps` of the file must be a list of lists of names and keys. Received: {short(steps)}."
        )
    if not (config["use"] is None or _is_count(config["use"])):
        raise ValueError(f"`use` of the file must be None or an int >= 0. Received: {short(config['use'])}.")
    valid = _is_list(part) and len(part) == 2 and isinstance(part[0], str) and part[0] in KINDS
    if not valid or not (part[1] is None or (_is_count(part[1]) and part[0] != "preactivation")):
        raise ValueError(f"`part` of the file must be one of {KINDS} and an index. Received: {short(part)}.")
    if not (mask_from is None or isinstance(mask_from, str)):
        raise TypeError(f"`mask_from` of the file must be None or a name. Received: {short(mask_from)}.")
    _is(config.get("mask_is_outside", False), "`mask_is_outside`", bool, "a bool")


def check_layer(layer):
    """Reject what is not a layer."""
    _is(layer, "`layer`", keras.layers.Layer, "a Keras layer")


def check_penalty(penalty):
    _is(penalty, "`penalty`", ActivityPenalty, "an ActivityPenalty")


def check_place(place, request):
    """Reject a penalty on a tensor that the layer at `place` does not have."""
    uses = [number for number, _ in place.calls]
    if request.use is not None and request.use not in uses:
        raise ValueError(
            f"`use` of the file must be one of {uses} for '{place.name}'. Received: {request.use}."
        )
    if request.receiver.part.kind == "preactivation" and not callable(
        getattr(place.operation, "activation", None)
    ):
        raise ValueError(
            f"`part` of the file is a pre-activation, and '{place.name}' must have an activation for it."
        )


def _is(value, name, kind, expected):
    if not isinstance(value, kind):
        raise TypeError(
            f"In the file of a penalized layer, {name} must be {expected}. "
            f"Received: {short(value)} (of type {type(value).__name__})."
        )


def _is_list(value):
    return isinstance(value, (list, tuple))


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def short(value):
    """`value` as text, truncated if it is long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
