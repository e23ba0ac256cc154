"""Checks of arguments. Each error names the argument, what was expected and received, and what to do."""

import math
import numbers

import keras
import numpy as np


def number(value, argument, owner, *, at_least=None, above=None, below=None, at_most=None, hint="") -> float:
    """`value` as a float within the bounds; `hint` names other valid types."""
    bounds = " and ".join(
        f"{sign} {bound:g}"
        for sign, bound in ((">=", at_least), (">", above), ("<", below), ("<=", at_most))
        if bound is not None
    )
    expected = f"a finite number{' ' if bounds else ''}{bounds}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"`{argument}` of {owner} must be {expected}. "
            f"Received: {argument}={value!r} (of type {type(value).__name__}). "
            f"Pass a plain Python number{', ' * bool(hint)}{hint}."
        )
    value = float(value)
    inside = (
        math.isfinite(value)
        and (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (below is None or value < below)
        and (at_most is None or value <= at_most)
    )
    if not inside:
        raise ValueError(f"`{argument}` of {owner} must be {expected}. Received: {argument}={value!r}.")
    return value


def whole(value, argument, owner, *, at_least: int | None = 1) -> int:
    """`value` as an int, `at_least` or more."""
    expected = "an int" if at_least is None else f"an int >= {at_least}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"`{argument}` of {owner} must be {expected}. Received: {argument}={value!r} "
            f"(of type {type(value).__name__})."
        )
    if at_least is not None and value < at_least:
        raise ValueError(f"`{argument}` of {owner} must be {expected}. Received: {argument}={value}.")
    return int(value)


# Keys that Keras and its callbacks write into the logs.
RESERVED = ("loss", "learning_rate", "epoch", "steps_per_second")


def log_name(value, argument, owner):
    """Reject a name that cannot be used in the logs."""
    if value in RESERVED or value.startswith("val_"):
        why = "is a key of Keras itself" if value in RESERVED else "looks like a validation key"
        raise ValueError(
            f"`{argument}` of {owner} gives the key '{value}' in the logs, which {why}. Choose another name."
        )


def choice(value, argument, owner, allowed):
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(
            f"`{argument}` of {owner} must be one of {', '.join(map(repr, allowed))}. "
            f"Received: {argument}={value!r}."
        )
    return value


def as_tensor(value, owner, argument):
    """`value` as a tensor; a symbolic tensor is returned unchanged."""
    if isinstance(value, keras.KerasTensor):
        return value
    try:
        return keras.ops.convert_to_tensor(value)
    except Exception as error:
        raise TypeError(
            f"`{argument}` of {owner} must be a tensor, or convertible to a NumPy array. Received: "
            f"{value!r:.80} (of type {type(value).__name__})."
        ) from error


def tensor(x, owner, argument="x", *, axis=None):
    """Reject what no penalty can measure: integers, scalars, a features axis that does not exist."""
    dtype, shape = keras.backend.standardize_dtype(x.dtype), tuple(x.shape)
    if "float" not in dtype:
        raise TypeError(
            f"`{argument}` of {owner} must be a tensor of floats. Received: dtype={dtype}, "
            f"shape={shape}. Cast it first, for instance with `keras.ops.cast({argument}, 'float32')`."
        )
    if not shape:
        raise ValueError(
            f"`{argument}` of {owner} must have at least rank 1, with the batch as its first axis. "
            f"Received a scalar: shape={shape}. Add an axis, with `keras.ops.reshape({argument}, (1, 1))`."
        )
    if axis is None or (len(shape) == 1 and axis == -1):
        return
    if not (-len(shape) < axis < len(shape)) or axis == 0:
        raise ValueError(
            f"`axis` of {owner} must name an axis of `{argument}` after the batch. "
            f"Received: axis={axis} for `{argument}` of shape {shape}. "
            f"Expected one of {', '.join(str(a) for a in range(1, len(shape)))} or -1."
        )


def flag(value, argument, owner) -> bool:
    """`value` as a bool. Other types are rejected, since a string such as "False" counts as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(
            f"`{argument}` of {owner} must be True or False. Received: {argument}={value!r} (of type "
            f"{type(value).__name__})."
        )
    return bool(value)


def unit_interval(values, argument, owner, hint):
    """Reject values, a NumPy array, that are not between 0 and 1."""
    least, most = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if not (least >= -1e-5 and most <= 1 + 1e-5):  # NaN is neither
        raise ValueError(
            f"`{argument}` of {owner} must be between 0 and 1. Received values from {least:g} to {most:g}. "
            f"{hint}"
        )


def value_range(value, owner):
    """`value` as a pair of increasing numbers, or None."""
    pair = tuple(value) if isinstance(value, (list, tuple)) else ()
    rising = len(pair) == 2 and all(isinstance(v, numbers.Real) for v in pair) and pair[0] < pair[1]
    if value is not None and not rising:
        raise ValueError(
            f"`value_range` of {owner} must be a pair (low, high) with low < high, or None. "
            f"Received: value_range={value!r}."
        )
    return pair or None


def shapes_agree(a, b) -> bool:
    """Whether two shapes may be equal; unknown sizes are None."""
    return len(a) == len(b) and all(m == n for m, n in zip(a, b, strict=True) if None not in (m, n))


def mask(value, shape, owner, argument="mask", *, axis=-1, elements=True):
    """Reject a mask that does not fit a tensor of `shape`, whose features are at `axis`.

    A mask has the shape without the features, or a prefix of that; or it has as many axes as the tensor and
    broadcasts to its shape. Such a mask can drop single features, which `elements` allows.
    """
    if value is None:
        return
    got, shape = tuple(value.shape), tuple(shape)
    positions = shape if len(shape) == 1 else _without(shape, axis)
    if 1 <= len(got) <= len(positions):
        fits = shapes_agree(got, positions[: len(got)])
    else:
        fits = len(got) == len(shape) and all(
            m == 1 or m is None or n in (m, None) for m, n in zip(got, shape, strict=True)
        )
    if not fits:
        prefixes = " or ".join(str(positions[:n]) for n in range(1, len(positions) + 1))
        raise ValueError(
            f"`{argument}` of {owner} must have the shape of its tensor up to the features, or a prefix of "
            f"that: {prefixes}; or as many axes as the tensor, and broadcast to {shape}. Received a mask of "
            f"shape {got}."
        )
    if len(got) > len(positions) and got[axis] != 1 and not elements:
        raise ValueError(
            f"`{argument}` of {owner} drops single features of a row, and {owner} describes whole rows. Give "
            f"it one value for each row: a shape of {positions}, or 1 at axis {axis}. Received a mask of "
            f"shape {got} for a tensor of shape {shape}."
        )


def _without(shape, axis):
    """`shape` without the size at `axis`."""
    sizes = list(shape)
    sizes.pop(axis)
    return tuple(sizes)
