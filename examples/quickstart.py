"""How do I penalize the output of an intermediate layer of an MNIST network?

Three ways to penalize "layer 4" of a small CNN, on 5,000 real digits. They are one penalty, so they give
one number. Each trained model is then saved, loaded in a new process, and exported for a process that
has TensorFlow alone. Run it from a clone with

    python examples/quickstart.py --out out
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from _common import BLUE, GREY, ORANGE, in_new_process, load_digits

import keras
import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

import keras_penalties as kp

STRENGTH = 1e-2
SWEEP = (1e-4, 1e-3, 1e-1, 1.0, 10.0)  # besides STRENGTH itself
WAYS = ("argument", "layer", "HiddenOutputs")


def split_digits(held_out=1000):
    """The digits, split into train and held-out."""
    x, y = load_digits()
    return (x[held_out:], y[held_out:]), (x[:held_out], y[:held_out])


def build(way=None, strength=STRENGTH):
    """The network with layer 4 penalized in one of the `WAYS`, or without a penalty.

    The seed is set here, so that every network starts from the same weights.
    """
    keras.utils.set_random_seed(0)
    penalty = kp.regularizers.L2(strength)

    digits = keras.Input((28, 28, 1), name="digits")
    h = keras.layers.Conv2D(16, 5, strides=2, activation="relu", name="layer_1")(digits)
    h = keras.layers.Conv2D(32, 3, strides=2, activation="relu", name="layer_2")(h)
    h = keras.layers.Flatten(name="layer_3")(h)
    if way == "argument":
        h = keras.layers.Dense(64, activation="relu", activity_regularizer=penalty, name="layer_4")(h)
    else:
        h = keras.layers.Dense(64, activation="relu", name="layer_4")(h)
    if way == "layer":
        h = kp.layers.ActivityPenalty(penalty, name="layer_4_penalty")(h)
    outputs = keras.layers.Dense(10, activation="softmax", name="layer_5")(h)
    model = keras.Model(digits, outputs, name="cnn")

    hidden = {}
    if way == "HiddenOutputs":
        model = kp.models.HiddenOutputs(model, hidden=["layer_4"])
        hidden = {"hidden_losses": {"layer_4": penalty}}
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **hidden)
    return model


@dataclass
class Result:
    """What a trained network does on the held-out digits."""

    model: keras.Model
    activations: np.ndarray
    accuracy: float
    loss: float
    penalty: float

    @property
    def mean_square(self):
        return float(np.mean(np.square(self.activations)))


def train(train_set, held_out, way=None, strength=STRENGTH, epochs=8, verbose=0):
    """Train one network and measure it."""
    model = build(way, strength)
    model.fit(*train_set, batch_size=64, epochs=epochs, validation_data=held_out, verbose=verbose)
    logs = model.evaluate(*held_out, batch_size=250, verbose=0, return_dict=True)
    activations = layer_4(model, held_out[0])
    # An argument has no name of its own in the logs: its value is there only as a part of `loss`.
    by_name = {"layer": "layer_4_penalty", "HiddenOutputs": "layer_4_loss"}
    if way in by_name:
        penalty = logs[by_name[way]]
    else:
        penalty = strength * float(kp.regularizers.L2(strength).measure(activations))
    return Result(model, activations, logs["accuracy"], logs["loss"], float(penalty))


def layer_4(model, x):
    """The activations of layer 4."""
    inner = getattr(model, "model", model)  # HiddenOutputs keeps the network as `.model`
    reader = keras.Model(inner.input, inner.get_layer("layer_4").output)
    return keras.ops.convert_to_numpy(reader(x))


EVALUATE_WITH_KERAS = """
import sys, json, numpy as np
import keras, keras_penalties
digits, *paths = sys.argv[1:]
digits = np.load(digits)
models = [keras.saving.load_model(path) for path in paths]
print(json.dumps([m.evaluate(digits["x"], digits["y"], batch_size=250, verbose=0)[0] for m in models]))
"""

PREDICT_WITH_TENSORFLOW = """
import sys, json, numpy as np
import tensorflow as tf
digits, *paths = sys.argv[1:]
x = np.load(digits)["x"]
models = [tf.saved_model.load(path) for path in paths]
print(json.dumps([model.serve(x).numpy().tolist() for model in models]))
assert "keras_penalties" not in sys.modules
"""


def save_and_reload(results, held_out, out):
    """The largest difference of a loss after loading, and of an answer after exporting."""
    np.savez(out / "held_out.npz", x=held_out[0], y=held_out[1])
    saved = [out / f"{way}.keras" for way in results]
    exported = [out / f"{way}_saved_model" for way in results]
    for result, keras_file, folder in zip(results.values(), saved, exported, strict=True):
        result.model.save(keras_file)
        result.model.export(folder, verbose=False)

    losses = in_new_process(EVALUATE_WITH_KERAS, out / "held_out.npz", *saved)
    answers = in_new_process(PREDICT_WITH_TENSORFLOW, out / "held_out.npz", *exported)
    predicted = [keras.ops.convert_to_numpy(r.model(held_out[0])) for r in results.values()]
    return (
        max(abs(loss - result.loss) for loss, result in zip(losses, results.values(), strict=True)),
        max(float(np.abs(a - p).max()) for a, p in zip(answers, predicted, strict=True)),
    )


def print_table(console, plain, results):
    """One row a way, against the network without a penalty."""
    title = f"Layer 4 under L2({STRENGTH:g}), on {len(plain.activations):,} held-out digits"
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("way", no_wrap=True)
    table.add_column("in the logs as", no_wrap=True)
    for heading in ("accuracy", "mean squared\nactivation", "penalty", "loss"):
        table.add_column(heading, justify="right")
    names = {"argument": "(part of loss)", "layer": "layer_4_penalty", "HiddenOutputs": "layer_4_loss"}
    for way, r in {"no penalty": plain, **results}.items():
        penalty = f"({r.penalty:.4f})" if r is plain else f"{r.penalty:.4f}"
        numbers = f"{r.accuracy:.1%}", f"{r.mean_square:.4f}", penalty, f"{r.loss:.4f}"
        table.add_row(way, names.get(way, ""), *numbers)
    table.caption = "In brackets: what the penalty would be, though it was not trained on."
    console.print(table)


def draw(plain, penalized, sweep, path):
    """What the penalty did: to the layer's activations, and to the accuracy at each strength."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 12, "axes.spines.top": False, "axes.spines.right": False})
    fig = plt.figure(figsize=(12.5, 6), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.15, h_pad=0.12)
    axes = fig.subplot_mosaic([["before", "accuracy"], ["before", "activity"]], width_ratios=(1.1, 1))
    fig.suptitle(
        f"L2({STRENGTH:g}) cuts the mean squared activation of layer 4 "
        f"{plain.mean_square / penalized.mean_square:.0f}-fold; "
        f"accuracy goes from {plain.accuracy:.1%} to {penalized.accuracy:.1%}",
        fontsize=15,
        fontweight="bold",
    )
    draw_activations(axes["before"], plain, penalized)
    draw_sweep(axes["accuracy"], axes["activity"], plain, sweep)
    fig.savefig(path, dpi=150)
    plt.close(fig)


def draw_activations(axis, plain, penalized):
    """Histograms of layer 4's activations, with the share of exact zeros, a spike, in words."""
    bins = np.linspace(0, np.quantile(plain.activations, 0.999), 50)
    for result, colour, label in ((plain, GREY, "no penalty"), (penalized, BLUE, f"L2({STRENGTH:g})")):
        values = result.activations.ravel()
        active = values[values > 0]
        style = {"weights": np.full(active.size, 100 / values.size), "color": colour}
        axis.hist(active, bins, **style, alpha=0.3)
        label = f"{label} ({np.mean(values == 0):.0%} are exactly 0)"
        axis.hist(active, bins, **style, histtype="step", linewidth=2.5, label=label)
    axis.set(xlabel="activation of layer 4", ylabel="share of the layer's activations (%)")
    axis.set_title("Activations above 0, before and after", loc="left")
    axis.legend(frameon=False, fontsize=13)


def draw_sweep(accuracy, activity, plain, sweep):
    """Accuracy and mean squared activation against strength; dashed lines are without a penalty."""
    strengths = sorted(sweep)
    dashed = {"color": GREY, "linestyle": "--", "linewidth": 1.5}
    below = {"va": "top", "color": GREY, "fontsize": 11}

    percent = [100 * sweep[s].accuracy for s in strengths]
    accuracy.plot(strengths, percent, "o-", color=BLUE, lw=2.5)
    for x, y in zip(strengths, percent, strict=True):
        fell = y < 50
        place = {"xytext": (-12, -5) if fell else (0, 8), "ha": "right" if fell else "center"}
        accuracy.annotate(f"{y:.1f}", (x, y), textcoords="offset points", color=BLUE, **place)
    accuracy.axhline(100 * plain.accuracy, **dashed)
    accuracy.text(strengths[0], 100 * plain.accuracy - 4, f"no penalty: {100 * plain.accuracy:.1f}", **below)
    accuracy.set_ylim(0, 115)
    accuracy.set_yticks((0, 25, 50, 75, 100))
    accuracy.set_title("Accuracy on held-out digits (%)", loc="left")
    accuracy.set_xscale("log")
    accuracy.tick_params(labelbottom=False)

    activity.plot(strengths, [sweep[s].mean_square for s in strengths], "s-", color=ORANGE, lw=2.5)
    activity.axhline(plain.mean_square, **dashed)
    level = f"no penalty: {plain.mean_square:.1f}"
    activity.text(strengths[-1], plain.mean_square / 2, level, **below, ha="right")
    activity.set_title("Mean squared activation of layer 4", loc="left")
    activity.set(xscale="log", yscale="log", xlabel="strength of the penalty")
    for axis in (accuracy, activity):
        axis.set_xticks(strengths, [f"{s:g}" for s in strengths])
        axis.minorticks_off()
        axis.grid(alpha=0.3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the models and the figure")
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    out, epochs = arguments.out, arguments.epochs
    out.mkdir(parents=True, exist_ok=True)
    console, start = Console(), time.perf_counter()
    train_set, held_out = split_digits()

    console.rule("no penalty")
    plain = train(train_set, held_out, epochs=epochs, verbose=1)
    results = {}
    for way in WAYS:
        console.rule(way)
        results[way] = train(train_set, held_out, way, epochs=epochs, verbose=1)
    print_table(console, plain, results)

    console.rule("saved, and loaded in new processes")
    loaded, exported = save_and_reload(results, held_out, out)
    print(f"Loaded in a new process: the largest difference of a loss is {loaded:.1e}.")
    print(f"Exported, read by TensorFlow alone: the largest difference of an answer is {exported:.1e}.")

    console.rule("other strengths")
    penalized, sweep = results["layer"], {STRENGTH: results["layer"]}
    for strength in track(SWEEP, "training", console=console):
        sweep[strength] = train(train_set, held_out, "layer", strength, epochs)
    draw(plain, penalized, sweep, out / "quickstart.png")
    values = [result.penalty for result in results.values()]
    print(
        f"accuracy {plain.accuracy:.1%} -> {penalized.accuracy:.1%}, "
        f"mean squared activation {plain.mean_square:.3f} -> {penalized.mean_square:.3f}, "
        f"penalty {penalized.penalty:.4f} (three ways differ by {np.ptp(values):.0e}), "
        f"{time.perf_counter() - start:.0f} s, figure: {out / 'quickstart.png'}"
    )


if __name__ == "__main__":
    main()
