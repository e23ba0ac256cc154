"""What to do about a penalty that counts padding."""

from typing import Any

import keras

BY_HAND = "pass the mask to an `ActivityPenalty` as `mask=`"


def counts_padding(evidence, name: str, after: str) -> str:
    """The sentence about a penalty that counts padding. `after` says how to replace an
    `activity_regularizer=`."""
    text, padding = f"{evidence.padding} of {evidence.elements} elements are padding", evidence.ignored
    if padding is None:
        return f"{text}: Keras passes no mask to an `activity_regularizer=`. {after}"
    if padding.mask.is_input:
        name = padding.mask.name if padding.masked_input is None else padding.masked_input.name
        return (
            f"{text} according to the input {name!r}, which the penalty does not get. Pass "
            f"`mask_from={name!r}` to `penalize` or `HiddenOutputs`, or {BY_HAND}."
        )
    return (
        f"{text} according to the mask that Keras passes to '{padding.mask.name}', but '{name}' gets no "
        f"mask: {_why(padding)}. {_advice(padding, evidence.source.way)}."
    )


def _why(padding) -> str:
    layer = padding.dropped_by
    if layer is None:
        return "it comes before that mask, or after code that drops it"
    if padding.by_its_code:
        return f"the code of {_described(layer)} drops it before, as an addition `x + y` does"
    return f"{_described(layer)}, before it, passes no mask on"


def _advice(padding, way: str) -> str:
    found: list[str] = []
    layer: Any = padding.dropped_by
    if padding.masked_input is not None:
        name, by_name = padding.masked_input.name, "`penalize`"
        by_name += " or `HiddenOutputs`" if padding.masked_input.for_hidden_outputs else ""
        instead = " in place of the `activity_regularizer=`" if way == "activity_regularizer" else ""
        found.append(
            f"pass `mask_from={name!r}` to {by_name}{instead} ({name!r} is 0 exactly where that mask drops "
            "a step)"
        )
    if layer is not None and padding.by_its_code:
        if not found:
            found.append("add with `keras.layers.Add()` there, which keeps masks")
    elif layer is not None and not getattr(layer, "supports_masking", True):
        found.append(f"set `supports_masking = True` in '{layer.name}'")
    elif layer is not None and not found:
        found.append("use a layer in its place that keeps masks, such as `keras.layers.Add()`")
    words = ", or ".join([*found, BY_HAND])
    return words[0].upper() + words[1:]


def _described(layer: Any) -> str:
    if isinstance(layer, keras.layers.Layer):
        return f"'{layer.name}' ({type(layer).__name__})"
    return f"the operation '{layer.name}'"
