"""Figures of penalties: over the epochs of a training, and in one step."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_penalties._audit import strength_verdicts
from keras_penalties._training.log_names import MEASURE, STRENGTH
from keras_penalties._training.logged_mean import LoggedMean

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8c8c8c"  # distinguishable without colour vision
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
BESIDE = ("main_loss", "regularization_loss")


def plot_penalties(history: Any, keys: Sequence[str] | None = None) -> Any:
    """Draw what each penalty adds to the loss over the epochs, and below it the strengths that changed.

    The scale is logarithmic, to show terms of very different sizes together; `main_loss` (or `loss`) is drawn
    in grey, and validation values (`val_`) are dashed.

    Args:
        history: what `fit` returns, or a dict of lists with the same keys, such as the columns of a file from
            `keras.callbacks.CSVLogger`.
        keys: the keys of the terms to draw. Defaults to None: every term of the model that `history` belongs
            to; in a plain dict, every key that ends in `_penalty` or `_loss`, or has a `_strength` key too.

    Returns:
        A `matplotlib.figure.Figure`; `figure.savefig("penalties.png")` writes it.

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
    plt = _pyplot("plot_penalties")
    logs, model = getattr(history, "history", history), getattr(history, "model", None)
    if not hasattr(logs, "keys"):
        raise TypeError(
            "`history` of plot_penalties must be what `fit` returns, or a dict of lists. "
            f"Received: {history!r} (of type {type(history).__name__})."
        )
    logs = {key: np.asarray(logs[key], "float64") for key in logs}
    keys = _chosen(logs, keys) if keys is not None else _terms(logs, model)
    strengths = {key: owner for key, owner in _strengths(logs).items() if owner in keys}
    rows = 2 if strengths else 1
    size = 9, 4.8 + 0.8 * rows
    figure, axes = plt.subplots(rows, sharex=True, squeeze=False, figsize=size, layout="constrained")
    beside = next((key for key in ("main_loss", "loss") if key in logs), None)
    if beside is not None:
        _line(axes[0, 0], logs, beside, "black", beside, alpha=0.35)
    colours = dict(zip(keys, _colours(plt, len(keys)), strict=True))
    for key in keys:
        _line(axes[0, 0], logs, key, colours[key], key)
    for key, owner in strengths.items():
        _line(axes[1, 0], logs, key, colours[owner], key)
    for axis, label in zip(axes[:, 0], ("added to the loss", "strength"), strict=False):
        _scale(axis)
        axis.set_ylabel(label)
        axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    dashed = any(line.get_linestyle() == "--" for line in axes[0, 0].lines)
    axes[-1, 0].set_xlabel("epoch (dashed: validation)" if dashed else "epoch")
    axes[-1, 0].xaxis.get_major_locator().set_params(integer=True)
    return figure


def _pyplot(owner) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{owner} draws with matplotlib, which is not installed. "
            "Install it with `pip install 'keras-penalties[plots]'`, or `pip install matplotlib`."
        ) from error
    return plt


def _terms(logs, model):
    plain = [key for key in logs if not key.startswith("val_") and not _is_beside(key, logs)]
    if model is not None:
        own = {metric.name for metric in model.metrics if isinstance(metric, LoggedMean)}
    else:
        own = {key for key in plain if key.endswith(("_penalty", "_loss")) or f"{key}{STRENGTH}" in logs}
    found = [key for key in plain if key in own and key not in BESIDE]
    if not found:
        raise ValueError(
            "`history` of plot_penalties has no key of a penalty (an `activity_regularizer=` is a part of "
            f"`loss`). Its keys are {', '.join(map(repr, logs))}. Name some as `keys=`, or attach the "
            "penalty with `kp.layers.ActivityPenalty` or `kp.penalize`."
        )
    return found


def _is_beside(key, logs):
    """Whether `key` is not a term, but a strength or what a target measures."""
    of_target = key.endswith(MEASURE) and f"{key.removesuffix(MEASURE)}{STRENGTH}" in logs
    return key.endswith(STRENGTH) or of_target


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
    """For each strength in the logs, its term: the longest key that it begins with."""
    found = {}
    for key in logs:
        owners = [k for k in logs if key.startswith(f"{k}_")]
        if key.endswith(STRENGTH) and not key.startswith("val_") and owners:
            found[key] = max(owners, key=len)
    return found


def _colours(plt, count):
    if count <= len(COLOURS):
        return COLOURS[:count]
    return plt.get_cmap("turbo")(np.linspace(0.05, 0.95, count))


def _line(axis, logs, key, colour, label, **options):
    epochs = np.arange(1, len(logs[key]) + 1)
    axis.plot(epochs, logs[key], "o-", color=colour, lw=2, ms=4, label=label, **options)
    if f"val_{key}" in logs and not key.endswith(STRENGTH):
        axis.plot(epochs, logs[f"val_{key}"], "--", color=colour, lw=1.5, label="_nolegend_", **options)


def _scale(axis):
    """A logarithmic scale, with a linear part around zero if there are values of zero or less."""
    values = np.concatenate([line.get_ydata() for line in axis.lines])
    positive = values[np.isfinite(values) & (values > 0)]
    if not positive.size:
        return
    if np.nanmin(values) > 0:
        axis.set_yscale("log")
    else:
        axis.set_yscale("symlog", linthresh=positive.min())
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def plot_audit(audit, before=None):
    """`Audit.plot`."""
    plt = _pyplot("Audit.plot")
    activations = audit.activations()
    columns = min(4, max(1, len(activations)))
    lines = -(-len(activations) // columns)
    height = 1.6 + 0.34 * len(audit.records)
    figure = plt.figure(figsize=(max(9, 3.2 * columns), height + 2.3 * lines), layout="constrained")
    above, below = figure.subfigures(2, height_ratios=[height, max(2.3 * lines, 0.1)])
    _bars(above.subplots(1, 2, sharey=True), audit)
    if activations:
        below.suptitle("Penalized activations" + (", and before (grey)" if before is not None else ""))
        axes = below.subplots(lines, columns, squeeze=False)
        for axis in axes.ravel()[len(activations) :]:
            axis.set_axis_off()
        earlier = before.activations() if before is not None else {}
        for axis, (name, values) in zip(axes.ravel(), activations.items(), strict=False):
            _histogram(axis, name, values, earlier.get(name))
        axes[0, 0].set_ylabel("share of elements")
    return figure


def _bars(axes, audit):
    names = [f"{r['name']}: {r['penalty']}" for r in audit.records]
    places = np.arange(len(names))[::-1]
    colours = [ORANGE if r["why"] else BLUE for r in audit.records]
    values = np.array([r["value"] for r in audit.records])
    axes[0].scatter(np.where(values > 0, values, np.nan), places, color=colours, s=60)
    axes[0].set_yticks(places, names)
    axes[0].set_ylim(-0.6, len(names) - 0.4)
    axes[0].set_xlabel("added to the loss")
    if audit.main_loss is not None and audit.main_loss > 0:
        axes[0].axvline(audit.main_loss, color="black", ls="--", lw=1)
        axes[0].set_title("dashed: the main loss", loc="left", fontsize=10)
    low, high = strength_verdicts.DROWNED / 10, strength_verdicts.DOMINATES * 10
    ratios = [np.clip(r["ratio"], 1.5 * low, high / 1.5) if r["ratio"] else np.nan for r in audit.records]
    axes[1].scatter(ratios, places, color=colours, s=60)
    axes[1].axvline(1.0, color="black", ls="--", lw=1)
    axes[1].set_xlim(low, high)
    for edge in ((low, strength_verdicts.DROWNED), (strength_verdicts.DOMINATES, high)):
        axes[1].axvspan(*edge, color=ORANGE, alpha=0.12)
    axes[1].set_xlabel("gradient at its layer, of the main loss's")
    axes[1].set_title("orange: drowned, or dominates", loc="left", fontsize=10)
    for place, record in zip(places, audit.records, strict=True):
        if record["why"]:
            axes[1].text(0.02, place, record["verdict"], transform=axes[1].get_yaxis_transform(), va="center")
    for axis in axes:
        axis.set_xscale("log")
        axis.grid(alpha=0.25, axis="x")
        axis.spines[["top", "right"]].set_visible(False)


def _histogram(axis, name, values, before):
    shown = [v[np.isfinite(v)] for v in (values, before) if v is not None]
    low, high = (edge([edge(v, initial=0.0) for v in shown]) for edge in (np.min, np.max))
    for v, colour in zip(reversed(shown), (GREY, BLUE)[-len(shown) :], strict=True):
        weights = np.full(v.size, 1 / max(v.size, 1))
        axis.hist(v, bins=50, range=(float(low), float(high)), weights=weights, color=colour, alpha=0.6)
    zeros = [f"{np.mean(v == 0):.0%}" for v in shown if v.size]
    text = "zeros: " + ", before ".join(zeros) if zeros else "nothing finite"
    axis.set_title(f"{name}\n{text}", fontsize=10, loc="left")
    axis.set_yscale("log")
    axis.spines[["top", "right"]].set_visible(False)
