"""Which strength costs no accuracy? A sweep over nine strengths, with the trade-off point.

An MNIST network is trained with each strength of an L1 on its hidden layer, three times, on 4,000 real
digits. Printed and drawn: its accuracy on 1,000 held-out digits, the mean activation of the layer, and the
gradient of the penalty as `kp.audit` reports it. From a clone:

    python examples/strength_sweep.py --out out
"""

import time

from _common import BLUE, GREY, ORANGE, PINK, arguments_of, load_digits, pyplot

import keras
import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

import keras_penalties as kp

NONE = 1e-6  # as good as no penalty, and what it adds can be divided by it
STRENGTHS = (NONE, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
BATCH, HELD_OUT = 80, 1000
ALLOWED = 0.01  # how much accuracy a penalty may cost


def build(strength, seed):
    keras.utils.set_random_seed(seed)
    digits = keras.Input((28, 28, 1))
    h = keras.layers.Dense(128, activation="relu", name="hidden")(keras.layers.Flatten()(digits))
    penalty = kp.regularizers.L1(strength, per="element")  # measures the mean absolute activation
    h = kp.layers.ActivityPenalty(penalty, name="activity")(h)
    model = keras.Model(digits, keras.layers.Dense(10, activation="softmax")(h))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model


def trained(strength, seed, epochs, data, held_out):
    """What a network does after training: its accuracy and what the penalty measures, on held-out digits; and
    the penalty's gradient as a multiple of the main loss's, before training and after it, on one batch."""
    model, batch = build(strength, seed), [array[:BATCH] for array in data]
    before = kp.audit(model, *batch).records[0]["ratio"]
    model.fit(*data, batch_size=BATCH, epochs=epochs, verbose=0)
    logs = model.evaluate(*held_out, batch_size=250, verbose=0, return_dict=True)
    audited = kp.audit(model, *batch).records[0]
    return {
        "accuracy": logs["accuracy"],
        "activation": logs["activity"] / strength,
        "before": before,
        "after": audited["ratio"],
        "verdict": audited["verdict"],
    }


def mean(runs, key):
    return float(np.mean([run[key] for run in runs]))


def trade_off(results):
    """The largest strength whose accuracy is at most `ALLOWED` below that of no penalty."""
    enough = mean(results[NONE], "accuracy") - ALLOWED
    return max(strength for strength, runs in results.items() if mean(runs, "accuracy") >= enough)


def print_table(results):
    table = Table(box=box.SIMPLE_HEAD, title="Means of the seeds, on held-out digits", title_justify="left")
    for column in ("strength", "accuracy", "mean activation", "gradient before", "after", "verdicts"):
        table.add_column(column, justify="right")
    for strength, runs in results.items():
        table.add_row(
            "none" if strength == NONE else f"{strength:g}",
            " ".join(f"{run['accuracy']:.1%}" for run in runs),
            f"{mean(runs, 'activation'):.4f}",
            f"{mean(runs, 'before'):.2g} x",
            f"{mean(runs, 'after'):.2g} x",
            ", ".join(dict.fromkeys(run["verdict"] for run in runs)),
        )
    Console(width=110).print(table)


def draw(results, chosen, path):
    """Accuracy against mean activation, a point for each strength; and the gradient of the penalty."""
    plt = pyplot()
    shape = {"figsize": (12, 5.6), "layout": "constrained", "gridspec_kw": {"width_ratios": (3, 2)}}
    fig, (left, right) = plt.subplots(1, 2, **shape)
    draw_trade_off(left, results, chosen)
    draw_gradients(right, results, chosen)
    fig.savefig(path, dpi=150)
    plt.close(fig)


def draw_trade_off(axis, results, chosen):
    accuracy = {s: 100 * np.array([run["accuracy"] for run in runs]) for s, runs in results.items()}
    activation = {s: mean(runs, "activation") for s, runs in results.items()}
    dead = [s for s in results if accuracy[s].mean() < 50]
    alive = [s for s in results if s not in dead]
    without = accuracy[NONE].mean()

    axis.axhline(without, color=GREY, ls="--", lw=1.5)
    axis.text(0.5, without + 0.05, "accuracy without a penalty", **in_the_middle(axis), va="bottom")
    axis.axhline(without - 100 * ALLOWED, color=GREY, ls=":", lw=1.5)
    axis.text(0.5, without - 100 * ALLOWED - 0.05, "one point less", **in_the_middle(axis), va="top")
    axis.plot([activation[s] for s in alive], [accuracy[s].mean() for s in alive], color=BLUE, lw=2)
    for s in alive:
        colour, size = {NONE: (GREY, 9), chosen: (PINK, 15)}.get(s, (BLUE, 9))
        axis.plot([activation[s]] * 2, [accuracy[s].min(), accuracy[s].max()], color=colour, lw=2)
        axis.plot(activation[s], accuracy[s].mean(), "o", color=colour, ms=size, zorder=3)
        if s != chosen:
            above = f"{s:g}", accuracy[s].max(), (0, 8), "center"
            label, end, place, ha = above if s != NONE else ("none", accuracy[s].mean(), (-9, 6), "right")
            place = {"xytext": place, "textcoords": "offset points", "ha": ha}
            axis.annotate(label, (activation[s], end), color=colour, **place)
    fewer = activation[NONE] / activation[chosen]
    axis.annotate(
        f"trade-off: strength {chosen:g},\nactivations {fewer:.0f} times smaller",
        (activation[chosen], accuracy[chosen].max()),
        xytext=(26, 40),
        textcoords="offset points",
        ha="center",
        color=PINK,
        fontweight="bold",
    )
    if dead:
        silent = [f"{s:g} ({accuracy[s].mean():.0f}%)" for s in dead]
        text = f"not shown, since they silence the layer:\n{' and '.join(silent)}"
        axis.text(0.02, 0.04, text, transform=axis.transAxes, color=GREY)
    axis.set(xscale="log", ylim=(None, max(a.max() for a in accuracy.values()) + 1.5))
    axis.set_xlabel(
        "mean activation of the hidden layer, on held-out digits\n(falls to the right, as the strength grows)"
    )
    axis.set_title("Accuracy (%) against effect, for nine strengths")
    axis.invert_xaxis()
    axis.set_xlim(left=1.5 * activation[NONE])  # room for a label beside the first point
    low, high = min(activation[s] for s in alive), max(activation.values())
    ticks = [tick for tick in (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01) if low <= 1.1 * tick <= 1.3 * high]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()


def in_the_middle(axis):
    return {"transform": axis.get_yaxis_transform(), "ha": "center", "color": GREY, "fontsize": 11.5}


def draw_gradients(axis, results, chosen):
    strengths = [s for s in results if s != NONE]
    for key, colour, style in (("before", ORANGE, "o--"), ("after", BLUE, "o-")):
        values = [mean(results[s], key) for s in strengths]
        axis.plot(strengths, values, style, color=colour, lw=2, label=f"{key} training")
    axis.axhline(1.0, color="black", ls=":", lw=1.2)
    axis.axvline(chosen, color=PINK, lw=2, label="trade-off")
    axis.set(xscale="log", yscale="log", xlabel="strength")
    axis.set_xticks(strengths, [f"{s:g}" for s in strengths])
    axis.set_yticks((0.001, 0.01, 0.1, 1.0), ("0.001", "0.01", "0.1", "1"))
    axis.minorticks_off()
    axis.legend(loc="upper left")
    axis.set_title("Gradient of the penalty at its layer,\nas a multiple of the main loss's")


def main():
    arguments, begun = arguments_of(__doc__, epochs=6), time.time()
    x, y = load_digits()
    data, held_out = (x[HELD_OUT:], y[HELD_OUT:]), (x[:HELD_OUT], y[:HELD_OUT])
    seeds, results = range(arguments.seeds), {}
    for strength in track(STRENGTHS, "strengths"):
        results[strength] = [trained(strength, s, arguments.epochs, data, held_out) for s in seeds]
    print_table(results)
    chosen, path = trade_off(results), arguments.out / "strength-sweep.png"
    draw(results, chosen, path)
    accuracies = [f"{mean(results[s], 'accuracy'):.1%}" for s in (NONE, chosen)]
    print(
        f"largest strength within {ALLOWED:.0%} of the accuracy without a penalty: {chosen:g} "
        f"({accuracies[0]} -> {accuracies[1]}, mean activation {mean(results[NONE], 'activation'):.3f} -> "
        f"{mean(results[chosen], 'activation'):.3f}); {time.time() - begun:.0f} s; figure: {path}"
    )


if __name__ == "__main__":
    main()
