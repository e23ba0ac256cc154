"""One picture of the record: ours against each peer, and each way of attaching against Keras' own."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

SIZES = {"64 x 64": "o", "256 x 256": "s", "1024 x 256": "^", "256 x 1024": "D", "128 x 4096": "v"}
WAYS = ("no penalty", "add_loss layers by hand", "ours, argument", "ours, ten named layers", "ours, penalize")
WAYS += ("ours, HiddenOutputs",)
BASE = "Keras' L2, argument"


def draw(record, path):
    peers = [
        (f"{row['name']}  |  {row['beside']}{_on(name, row['beside'])}", row["time"])
        for name, part in record.items()
        if name.startswith("costs-")
        for row in part["rows"]
        if row["beside"]
    ]
    attached = [(name, part) for name, part in record.items() if name.startswith("attach-")]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(13, 2 + 0.27 * max(len(peers), 12)), width_ratios=(3, 2), layout="constrained"
    )
    _of_peers(left, peers)
    _of_ways(right, attached)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _on(part, peer):
    """The backend, of a peer that runs on all of them."""
    return f" on {part.removeprefix('costs-')}" if peer.startswith("keras ") else ""


def _of_peers(axes, peers):
    for y, (_, times) in enumerate(peers):
        axes.plot(list(times.values()), [y] * len(times), color="0.8", zorder=1)
        for i, (size, marker) in enumerate(SIZES.items()):
            axes.scatter(
                times[size], y, marker=marker, color=f"C{i}", s=28, zorder=2, label=size if not y else None
            )
    axes.axvline(1, color="black", linewidth=1)
    axes.set(xscale="log", title="Forward and backward: time of ours / time of theirs")
    axes.set_yticks(range(len(peers)), [label for label, _ in peers], fontsize=8)
    _common(axes)
    if peers:
        axes.legend(title="rows x features", fontsize=8)


def _of_ways(axes, attached):
    y, ticks, labels = 0, [], []
    for i, (name, part) in enumerate(attached):
        for j, (model, rows) in enumerate(part["models"].items()):
            for way in WAYS:
                label = name.removeprefix("attach-") if way == WAYS[0] and not j else None
                axes.scatter(rows[way][BASE], y, color=f"C{i}", s=28, label=label)
                ticks.append(y)
                labels.append(f"{model}: {way}")
                y += 1
            y += 1
    axes.axvline(1, color="black", linewidth=1)
    axes.set(title="A training step with ten L2 penalties\n/ the step with Keras' own ten")
    axes.set_yticks(ticks, labels, fontsize=7)
    axes.set_xlim(0.5, 1.5)
    _common(axes)
    if attached:
        axes.legend(fontsize=8)


def _common(axes):
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.4)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
