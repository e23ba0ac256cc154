"""How do I penalize the output of an intermediate layer of an MNIST network?

The penalty is the squared sum of layer 4, before or after its activation, on 5,000 real digits. Three known
recipes run as usually written, next to what replaces them. Then the network is trained. From a clone:

    python examples/intermediate_layer.py --out out
"""

import argparse
import time
from pathlib import Path

from _common import BLUE, GREY, ORANGE, PINK, load_digits, pyplot, save_and_reload

import numpy as np
from _recipes import (
    CROSS_ENTROPY,
    STRENGTH,
    Bench,
    SquaredSum,
    batch_mean,
    evaluate,
    network,
    passing,
    recipe_1,
    recipe_2,
    recipe_3,
    wrapped,
)
from rich import box
from rich.console import Console
from rich.table import Table

BATCHES = (1, 4, 16, 64, 256)
RECIPES = {
    "1. A pass-through layer with add_loss": recipe_1,
    "2. activity_regularizer=": recipe_2,
    "3. The layer as a second output": recipe_3,
}


def print_findings(console, bench):
    """One table per recipe; messages are cut, so that each row fits on one line."""
    for title, recipe in RECIPES.items():
        table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        table.add_column("case", no_wrap=True)
        table.add_column("as usually written", max_width=44, style="red")
        table.add_column("right", no_wrap=True)
        table.add_column("keras_penalties", style="green")
        for done, gives, right, ours in recipe(bench):
            table.add_row(
                done, gives if len(gives) < 130 else gives[:130].rsplit(" ", 1)[0] + " ...", right, ours
            )
        console.print(table)


def strengths(bench):
    """What reaches the loss, as a multiple of the right number, at each of `BATCHES`."""
    ways = {
        "add_loss(sum)": lambda n: bench.added(n, after=SquaredSum),
        "activity_regularizer= a batch mean": lambda n: bench.added(n, regularizer=batch_mean),
        'second output, "mse"': lambda n: STRENGTH * bench.second_output(n, "mse"),
        "keras_penalties": lambda n: bench.added(n, after=passing),
    }
    return {name: [way(n) / bench.right(n) for n in BATCHES] for name, way in ways.items()}


def draw(measured, history, path):
    """The strength against the batch size, and the logs by name."""
    plt = pyplot()
    fig, (left, right) = plt.subplots(1, 2, figsize=(12.4, 5.4), layout="constrained", width_ratios=(1.15, 1))
    fig.get_layout_engine().set(w_pad=0.15, h_pad=0.1)
    fig.suptitle(
        f"In batches of {BATCHES[-1]} the usual recipes are up to {measured['add_loss(sum)'][-1]:.0f} times "
        "too strong or too weak; keras_penalties is right",
        fontsize=14,
        fontweight="bold",
    )
    draw_strengths(left, measured)
    draw_log(right, history)
    fig.savefig(path, dpi=120)
    plt.close(fig)


def draw_strengths(axis, measured):
    """One line for each way, with its name next to it."""
    styles = [
        (ORANGE, "s-", (8, 25)),
        (GREY, "^-", (9, 0.14)),
        (PINK, "D-", (1.05, 0.008)),
        (BLUE, "o-", (20, 1.4)),
    ]
    for (name, values), (colour, style, place) in zip(measured.items(), styles, strict=True):
        ours = name == "keras_penalties"
        axis.plot(BATCHES, values, style, color=colour, lw=4 if ours else 2.5, ms=8 if ours else 6)
        ha = "right" if name.startswith("add_loss") else "left"
        axis.text(*place, name, color=colour, ha=ha, fontsize=13, fontweight="bold" if ours else "normal")
    axis.set(xscale="log", yscale="log", xlabel="batch size", ylabel="times the right number")
    axis.set_xticks(BATCHES, map(str, BATCHES))
    axis.set_yticks((0.01, 0.1, 1, 10, 100), ("1/100", "1/10", "1", "10", "100"))
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.set_title("The penalty that reaches the loss")


def draw_log(axis, history):
    """The loss and its terms, by their names in the log."""
    epochs = np.arange(1, len(history["loss"]) + 1)
    styles = {"loss": (GREY, "--"), "main_loss": (ORANGE, "s-"), "layer_4_relu_loss": (BLUE, "o-")}
    for name, (colour, style) in styles.items():
        axis.plot(
            epochs,
            history[name],
            style,
            color=colour,
            lw=2.5,
            label=f"{name}: {history[name][-1]:.3f} at the end",
        )
    axis.set(xlabel="epoch", yscale="log", xticks=epochs, yticks=(0.05, 0.1, 0.2, 0.5, 1))
    axis.set_yticklabels(("0.05", "0.1", "0.2", "0.5", "1"))
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=13)
    axis.set_title("Each term is in the log, and they sum to loss")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the models and the figure")
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    out, epochs, start = arguments.out, arguments.epochs, time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    x, y = load_digits()
    (x, y), (held_x, held_y) = (x[1000:], y[1000:]), (x[:1000], y[:1000])

    plain = network()
    plain.compile("adam", CROSS_ENTROPY, metrics=["accuracy"])
    plain.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    bench = Bench(held_x, held_y, plain, out)
    print_findings(Console(width=120), bench)

    models = {name: wrapped(network(), name) for name in ("layer_4", "layer_4_relu")}
    for name, model in models.items():
        print(f"{name} penalized, {'before' if name == 'layer_4' else 'after'} its activation:")
        history = model.fit(x, y, batch_size=64, epochs=epochs, verbose=2).history
    for name, model in models.items():
        print(f"{name} penalized:")
        save_and_reload(model, held_x, held_y, out, name)
    after = models["layer_4_relu"]
    draw(strengths(bench), history, out / "intermediate_layer.png")

    accuracy = [evaluate(m, held_x, held_y)["accuracy"] for m in (plain, *models.values())]
    squares = [Bench(held_x, held_y, m, out).right(1000) / STRENGTH for m in (plain, after.model)]
    print(
        f"accuracy {accuracy[0]:.1%}, penalized before the activation {accuracy[1]:.1%}, after it "
        f"{accuracy[2]:.1%}; squared sum of layer 4 {squares[0]:.0f} -> {squares[1]:.0f}, "
        f"{time.perf_counter() - start:.0f} s, figure: {out / 'intermediate_layer.png'}"
    )


if __name__ == "__main__":
    main()
