"""One picture of the record: ours against other packages, and each way of attaching against Keras' own."""

import math
import statistics

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

MARKS = {
    "tensorflow": ("TensorFlow", "#D55E00", "o"),
    "jax": ("JAX", "#0072B2", "s"),
    "torch": ("PyTorch", "#595959", "D"),
}
WAYS = {
    "ours, argument": "as an argument",
    "ours, ten named layers": "ten named layers",
    "ours, penalize": "by name, penalize",
    "ours, HiddenOutputs": "HiddenOutputs",
}
BASE = "Keras' L2, argument"
TOGETHER = {"KoLeo": "KoLeo, SIGReg", "SIGReg": "KoLeo, SIGReg", "L1": "L1, L2", "L2": "L1, L2"}


def draw(record, path):
    """Each dot above is a size and a package, below a model. Narrow enough for a phone."""
    style = {"font.size": 10.5, "axes.titlelocation": "left", "axes.titlesize": 11.5}
    with plt.rc_context(style):
        figure, (above, below) = plt.subplots(
            2, 1, figsize=(6, 9), height_ratios=(16, 5), layout="constrained"
        )
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
        above.set_xscale("log")
        peers = dict(sorted(peers.items(), key=lambda item: statistics.median(time for time, _ in item[1])))
        _dots(above, peers, "A penalty or loss, forward and backward:\nours against other packages")
        _dots(below, ways, "A training step with ten L2 penalties:\nours against Keras' own")
        figure.legend(*_handles(), loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(path, dpi=160)
        plt.close(figure)


def _family(name):
    """The class, with its terms and options in one row, or two classes for the same purpose."""
    name = name.removesuffix("'s covariance").removesuffix("'s variance").split(",")[0].split()[0]
    return TOGETHER.get(name, name)


def _dots(axes, rows, title):
    for y, found in enumerate(rows.values()):
        for backend, (_, colour, marker) in MARKS.items():
            times = [time for time, on in found if on == backend]
            axes.scatter(times, [y] * len(times), color=colour, marker=marker, s=26, alpha=0.6, linewidths=0)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.4, -0.6)  # from top to bottom, with room for the first row and the last
    axes.set_title(title)
    axes.set_xlabel("time of ours / time of theirs (left of 1: ours is faster)")
    axes.grid(axis="x", alpha=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _handles():
    dots = [
        plt.Line2D([], [], marker=marker, linestyle="", color=colour) for _, colour, marker in MARKS.values()
    ]
    return dots, [name for name, _, _ in MARKS.values()]
