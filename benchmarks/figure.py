"""One picture of the record: ours against other packages, and each way of attaching against Keras' own."""

import math
import statistics

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

COLORS = {"tensorflow": "C1", "jax": "C0", "torch": "C3"}
WAYS = {"ours, argument": "argument", "ours, penalize": "by name", "ours, HiddenOutputs": "HiddenOutputs"}
BASE = "Keras' L2, argument"


def draw(record, path):
    """Each dot on the left is a size and a package, on the right a model."""
    figure, (left, right) = plt.subplots(2, 1, figsize=(9, 9), height_ratios=(17, 4), layout="constrained")
    peers, ways = {}, {}
    for name, part in record.items():
        kind, _, backend = name.partition("-")
        for row in part["rows"] if kind == "costs" else ():
            if row["beside"]:
                peers.setdefault(_family(row["name"]), []).extend(
                    (t, backend) for t in row["time"].values() if not math.isnan(t)
                )
        for rows in part["models"].values() if kind == "attach" else ():
            for way, label in WAYS.items():
                ways.setdefault(label, []).append((rows[way][BASE], backend))
    left.set_xscale("log")
    peers = dict(sorted(peers.items(), key=lambda item: statistics.median(time for time, _ in item[1])))
    _dots(left, peers, "A penalty or loss, forward and backward: time of ours / time of another package's")
    left.legend(*_handles(), fontsize=9)
    _dots(right, ways, "A training step with ten L2 penalties: time of ours / time of Keras' own")
    right.set_xlim(0.8, 1.25)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _family(name):
    """The class, with its terms and options in one row."""
    name = name.removesuffix("'s covariance").removesuffix("'s variance").split(",")[0].split()[0]
    return "L1, L2" if name in ("L1", "L2") else name


def _dots(axes, rows, title):
    for y, found in enumerate(rows.values()):
        for backend, color in COLORS.items():
            times = [time for time, on in found if on == backend]
            axes.scatter(times, [y] * len(times), color=color, s=26, alpha=0.6)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_title(title, fontsize=10)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.4)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _handles():
    dots = [plt.Line2D([], [], marker="o", linestyle="", color=color) for color in COLORS.values()]
    return dots, list(COLORS)
