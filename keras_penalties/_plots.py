"""The figure of a training: what each penalty adds over the epochs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_penalties._audit.figure import BLUE, ORANGE, pyplot
from keras_penalties._audit.sources import find_sources
from keras_penalties._training.log_names import MEASURE, STRENGTH, WEIGHT
from keras_penalties._training.logged_mean import LoggedMean

COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^v"  # one per round of the colours
BESIDE = ("main_loss", "regularization_loss")
LONG = 32  # characters of a key, beyond which a legend has one column


def plot_penalties(history: Any, keys: Sequence[str] | None = None) -> Any:
    """Draw what each penalty adds to the loss over the epochs, and below it what changes with it: strengths,
    and what penalties with a target measure.

    Validation values (`val_`) are dashed, in the colour of the training values. `main_loss` (or `loss`) is
    grey. A target is a thin line if `history` is what `fit` returned. The scale is logarithmic, to show terms
    of very different sizes together. Each legend is in the order of the last values.

    Args:
        history: what `fit` returns, or a dict of lists with the same keys, such as the columns of a file from
            `keras.callbacks.CSVLogger`.
        keys: the keys of the terms to draw. Defaults to None: every term of the model that `history` belongs
            to; in a plain dict, every key that ends in `_penalty` or `_loss`, or has a strength or weight.

    Returns:
        A `matplotlib.figure.Figure`; `figure.savefig("penalties.png")` writes it. In a notebook, end the line
        with a semicolon, or the figure is shown twice.

    Example:

    >>> import keras_penalties as kp
    >>> history = {"loss": [1.0, 0.5], "quiet": [0.3, 0.1], "quiet_strength": [0.01, 0.05]}
    >>> figure = kp.plot_penalties(history)  # doctest: +SKIP
    >>> [axis.get_ylabel() for axis in figure.axes]  # doctest: +SKIP
    ['added to the loss', 'strength']

    Raises:
        ImportError: if matplotlib is missing.
        TypeError: if `history` is neither what `fit` returns nor a dict.
        ValueError: if there is no term to draw, or a name in `keys` is not in `history`.
    """
    plt = pyplot("plot_penalties")
    logs, model = getattr(history, "history", history), getattr(history, "model", None)
    if not hasattr(logs, "keys"):
        raise TypeError(
            "`history` of plot_penalties must be what `fit` returns, or a dict of lists. "
            f"Received: {history!r} (of type {type(history).__name__})."
        )
    logs = {key: np.asarray(logs[key], "float64") for key in logs}
    keys = _chosen(logs, keys) if keys is not None else _terms(logs, model)
    rows = {"added to the loss": {key: key for key in keys}}
    for label, owners in (("strength", _strengths(logs)), ("measure", _measures(logs))):
        rows[label] = {key: owner for key, owner in owners.items() if owner in keys}
    rows = {label: owners for label, owners in rows.items() if owners}
    beside = next((key for key in ("main_loss", "loss") if key in logs), None)
    columns = 1 if max(map(len, logs)) > LONG else 2
    heights = [3.2, 2.0, 2.0][: len(rows)]
    lines = sum(1 + (len(owners) + 1) // columns for owners in rows.values())  # of the legends
    size = 6.5, sum(heights) + 0.22 * lines + 0.8
    figure, axes = plt.subplots(
        len(rows), sharex=True, squeeze=False, figsize=size, height_ratios=heights, layout="constrained"
    )
    styles = {
        key: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i // len(COLOURS) % len(MARKERS)]}
        for i, key in enumerate(keys)
    }
    if beside is not None:
        _line(axes[0, 0], logs, beside, color="black", marker="o", alpha=0.35)
    targets = _targets(model) if "measure" in rows else {}
    for axis, (label, owners) in zip(axes[:, 0], rows.items(), strict=True):
        for key, owner in owners.items():
            _line(axis, logs, key, **styles[owner])
            if key in targets:
                axis.axhline(targets[key], color=styles[owner]["color"], lw=0.8, label="_target")
        thin = label == "measure" and targets.keys() & owners.keys()
        axis.set_ylabel(f"{label} (thin: target)" if thin else label)
        _scale(axis)
        _legend(axis, columns)
    dashed = any(line.get_linestyle() == "--" for axis in axes[:, 0] for line in axis.lines)
    axes[-1, 0].set_xlabel("epoch (dashed: validation)" if dashed else "epoch")
    axes[-1, 0].xaxis.get_major_locator().set_params(integer=True)
    return figure


def _terms(logs, model):
    beside = {*_strengths(logs), *_measures(logs), *BESIDE}
    plain = [key for key in logs if not key.startswith("val_") and key not in beside]
    if model is not None:
        own = {metric.name for metric in model.metrics if isinstance(metric, LoggedMean)}
    else:
        own = {key for key in plain if key.endswith(("_penalty", "_loss"))} | {*_strengths(logs).values()}
    found = [key for key in plain if key in own]
    if not found:
        raise ValueError(
            "`history` of plot_penalties has no key of a penalty (an `activity_regularizer=` is a part of "
            f"`loss`). Its keys are {', '.join(map(repr, logs))}. Name some as `keys=`, or attach the "
            "penalty with `kp.layers.ActivityPenalty` or `kp.penalize`."
        )
    return found


def _chosen(logs, keys):
    keys = [keys] if isinstance(keys, str) else list(keys)
    missing = [key for key in keys if key not in logs]
    if missing or not keys:
        raise ValueError(
            f"`keys` of plot_penalties must name keys of `history`. Received: {keys!r}. It has "
            f"{', '.join(map(repr, logs))}."
        )
    return keys


def _strengths(logs):
    """For each strength or weight in the logs, its term: the longest key that it begins with."""
    found = {}
    for key in logs:
        owners = [k for k in logs if key.startswith(f"{k}_")]
        if key.endswith((STRENGTH, WEIGHT)) and not key.startswith("val_") and owners:
            found[key] = max(owners, key=len)
    return found


def _measures(logs):
    """For each measure of a target in the logs, its term: that of the strength or weight next to it."""
    found = {}
    for key, owner in _strengths(logs).items():
        measure = f"{key.removesuffix(STRENGTH).removesuffix(WEIGHT)}{MEASURE}"
        if measure in logs:
            found[measure] = owner
    return found


def _targets(model):
    """By the log key of a measure, the value of its target."""
    found = {}
    for source in find_sources(model) if model is not None else ():
        layer, owners = source.layer, source.penalties
        if source.way == "ActivityPenalty":
            strengths, names = layer.get_term().strengths, {mean.key: mean.name for mean in layer.logged}
        elif source.way == "HiddenOutputs":
            strengths, names = None, {key.removeprefix(layer.key): key for key in layer.averaged}
            if layer.loss is None:
                strengths = layer.state.strengths
            elif layer.weights is not None:
                strengths, owners = layer.weights, [layer]
        else:
            continue
        ends = {} if strengths is None else strengths.measure_keys
        found |= {names[end]: owners[i].strength.value for i, end in ends.items()}
    return found


def _line(axis, logs, key, marker, **options):
    epochs = np.arange(1, len(logs[key]) + 1)
    axis.plot(epochs, logs[key], linestyle="-", marker=marker, lw=2, ms=5, label=key, **options)
    if f"val_{key}" in logs and not key.endswith((STRENGTH, WEIGHT)):
        axis.plot(epochs, logs[f"val_{key}"], "--", lw=1.5, label=f"_val_{key}", **options)


def _scale(axis):
    """A logarithmic scale, with a linear part around zero if there are values of zero or less."""
    values = np.concatenate([np.asarray(line.get_ydata()) for line in axis.lines])
    positive = values[np.isfinite(values) & (values > 0)]
    if not positive.size:
        return
    if np.nanmin(values) > 0:
        axis.set_yscale("log")
    else:
        axis.set_yscale("symlog", linthresh=positive.min())
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def _legend(axis, columns):
    """The names above the lines, in the order in which the lines end."""

    def last(line):
        values = line.get_ydata()[np.isfinite(line.get_ydata())]
        return values[-1] if values.size else -np.inf

    lines = [line for line in axis.lines if not line.get_label().startswith("_")]
    lines.sort(key=last, reverse=True)
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    axis.legend(handles=lines, ncols=columns, frameon=False, **place)
