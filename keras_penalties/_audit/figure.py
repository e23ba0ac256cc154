"""The figure of an audit: what each penalty adds, its gradient, and the penalized activations."""

import io
import textwrap
from typing import Any

import numpy as np

from keras_penalties._audit import strength_verdicts

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8c8c8c"  # distinguishable without colour vision


def pyplot(owner) -> Any:
    """matplotlib's pyplot; an error in the name of `owner` if it is missing."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{owner} draws with matplotlib, which is not installed. "
            "Install it with `pip install 'keras-penalties[plots]'`, or `pip install matplotlib`."
        ) from error
    return plt


def plot_audit(audit, before=None):
    """`Audit.plot`."""
    plt = pyplot("Audit.plot")
    activations = audit.activations()
    columns = 2 if len(activations) == 4 else min(3, max(1, len(activations)))
    lines = -(-len(activations) // columns)
    height = _height(audit)
    figure = plt.figure(figsize=(max(9, 3.2 * columns), height + 2.3 * lines), layout="constrained")
    above, below = figure.subfigures(2, height_ratios=[height, max(2.3 * lines, 0.1)])
    _draw_penalties(above.subplots(1, 2, sharey=True), audit)
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


def png_of(audit) -> bytes | None:
    """The upper half of the figure, for a page; None if matplotlib or a penalty is missing.

    It is not made with pyplot, whose figures a notebook shows a second time at the end of the cell. It has
    matplotlib's own style, whose colours suit the white background that the page gives it.
    """
    try:
        import matplotlib.style
        from matplotlib.figure import Figure
    except ImportError:
        return None
    if not audit.records:
        return None
    with matplotlib.style.context("default"):
        figure, file = Figure(figsize=(9, _height(audit)), layout="constrained"), io.BytesIO()
        _draw_penalties(figure.subplots(1, 2, sharey=True), audit)
        figure.savefig(file, format="png", dpi=150)
    return file.getvalue()


def _height(audit):
    return 1.6 + 0.34 * len(audit.records)


def _draw_penalties(axes, audit):
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
    axes[1].set_xlabel("gradient, as a multiple of the main loss's")
    axes[1].set_title("orange area: drowned, or dominates", loc="left", fontsize=10)
    for place, record in zip(places, audit.records, strict=True):
        if record["why"]:
            verdict = textwrap.fill(record["verdict"], 26)  # outside, where it covers no dot
            beside = axes[1].get_yaxis_transform()
            axes[1].text(1.03, place, verdict, transform=beside, va="center", fontsize=9, linespacing=0.95)
    for axis in axes:
        axis.set_xscale("log")
        axis.grid(alpha=0.25)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].tick_params(axis="x", which="both", labelsize="small")  # labels such as 4 x 10^-2 collide


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
