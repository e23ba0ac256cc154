"""The figure of `published_effects.py`: three panels, one per effect."""

from _common import BLUE, GREY, ORANGE, PINK, pyplot

import numpy as np

COLOURS = {"L1": GREY, "TransformedL1": BLUE, "HoyerSquare": ORANGE}
CLASS_COLOURS = (GREY, BLUE, ORANGE, PINK)


def draw(sparse_runs, sparse, few, tight, path):
    plt = pyplot()
    fig, axes = plt.subplots(1, 3, figsize=(12.4, 6), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.08, h_pad=0.1)
    fig.suptitle(
        "Three published effects at small scale, on real digits: means of three seeds",
        fontsize=15,
        fontweight="bold",
    )
    draw_sparsity(axes[0], sparse_runs, sparse)
    draw_overfitting(axes[1], few)
    draw_tightness(axes[2], tight)
    fig.savefig(path, dpi=120)
    plt.close(fig)


def below(axis, **options):
    """The legend under the axis, where it covers no data."""
    axis.legend(loc="upper left", bbox_to_anchor=(0, -0.17), alignment="left", **options)


def draw_sparsity(axis, runs, means):
    """Accuracy against units in use; a line joins the strengths of a penalty, small dots are seeds."""
    plain = means["no penalty", 0.0]
    for name, colour in COLOURS.items():
        cases = [case for case in means if case[0] == name]
        axis.plot(
            [means[c]["used"][0] for c in cases],
            [100 * means[c]["accuracy"][0] for c in cases],
            "o-",
            color=colour,
            lw=2.5,
            label=name,
        )
        dots = [(r[c]["used"], 100 * r[c]["accuracy"]) for r in runs for c in cases]
        axis.scatter(*np.transpose(dots), s=12, color=colour, alpha=0.4)
    axis.axhline(100 * plain["accuracy"][0], color="black", ls="--", lw=1.2)
    label = f"no penalty:\n{plain['used'][0]:.0f} units"
    axis.text(0.02, 100 * plain["accuracy"][0], label, transform=axis.get_yaxis_transform(), va="bottom")
    ticks = (2, 3, 5, 10, 20)
    axis.set(xscale="log", xlabel="units in use per digit, of 256", ylabel="held-out accuracy (%)")
    axis.set_xticks(ticks, map(str, ticks))
    axis.minorticks_off()
    below(axis)
    axis.set_title("1. Sparsity at equal accuracy", fontweight="bold")


def draw_overfitting(axis, means):
    """The loss on training digits and on held-out digits, against strength; the gap is shaded."""
    strengths = [s for _, s in means]
    places = np.arange(len(strengths))
    seen, held = (np.array([row[m] for row in means.values()]) for m in ("loss", "held-out loss"))
    axis.fill_between(places, seen[:, 0], held[:, 0], color=BLUE, alpha=0.12)
    for values, colour, label in ((held, ORANGE, "held-out digits"), (seen, BLUE, "training digits")):
        axis.errorbar(places, *values.T, fmt="o-", color=colour, lw=2.5, capsize=4, label=label)
    for place, row in zip(places, means.values(), strict=True):
        middle = (row["loss"][0] + row["held-out loss"][0]) / 2
        text = f"gap {row['gap'][0]:.2f}\n({100 * row['accuracy gap'][0]:.1f}%)"
        axis.text(place, middle, text, ha="center", va="center", fontsize=12)
    axis.set_xticks(places, ["none", *(f"{s:g}" for s in strengths[1:])])
    axis.set(
        xlabel="strength of DeCov", ylabel="cross-entropy", ylim=(0, None), xlim=(-0.4, places[-1] + 0.4)
    )
    below(axis, title="in brackets: gap in accuracy")
    axis.set_title("2. A smaller gap on a few digits", fontweight="bold")


def draw_tightness(axis, means):
    """Accuracy of a linear probe on a few labels; the legend shows the distances."""
    labels = [m for m in next(iter(means.values())) if isinstance(m, int)]
    places = np.arange(len(labels))
    for ((name, _), row), colour in zip(means.items(), CLASS_COLOURS, strict=False):
        mean, deviation = 100 * np.array([row[k] for k in labels]).T
        label = f"{name}: {row['ratio'][0]:.2f}"
        axis.errorbar(places, mean, deviation, fmt="o-", color=colour, lw=2.5, capsize=4, label=label)
    axis.set_xticks(places, labels)
    axis.set(xlabel="labels per class for the probe", ylabel="accuracy of a linear probe (%)")
    axis.set_xlim(-0.3, places[-1] + 0.3)
    below(axis, title="distance within / between classes")
    axis.set_title("3. Tighter classes", fontweight="bold")
