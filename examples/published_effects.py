"""Do penalties do what their papers say? Three published effects, at small scale, on real digits.

Fewer active units at equal accuracy, a smaller gap between training and held-out digits, and tighter classes
in a hidden layer: three seeds each, on 5,000 MNIST digits. From a clone:

    python examples/published_effects.py --out out
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from _common import load_digits

import keras
import numpy as np
from _published_effects_figure import draw
from keras import layers
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression

import keras_penalties as kp

SEEDS = (0, 1, 2)
HELD_OUT = 2000

# 1: a trained network is trained on, with one of these on its hidden layer: one strength that keeps more
# than the accuracy without a penalty, and one that keeps less.
SPARSE = {
    "L1": (kp.regularizers.L1, (0.06, 0.12)),
    "TransformedL1": (kp.regularizers.TransformedL1, (0.036, 0.09)),
    "HoyerSquare": (kp.regularizers.HoyerSquare, (0.06, 0.18)),
}
# 2: few digits to train on; the paper's strength is 0.1.
FEW, DECOV = 300, (0.0, 0.1)
# 3: a loss on the hidden layer in addition to the cross-entropy, and its weight.
CLASSES = {
    "cross-entropy alone": (None, 0.0),
    "SupervisedContrastive": (lambda: kp.losses.SupervisedContrastive(0.07), 1.0),
    "Center": (lambda: kp.losses.Center(10), 0.1),
}
LABELS, DRAWS = (1, 2, 5), 5  # labels a class for the probe, and how often they are drawn


@dataclass
class Split:
    """Training digits, and digits that no network sees."""

    x: np.ndarray
    y: np.ndarray
    held_x: np.ndarray
    held_y: np.ndarray

    def few(self, seed):
        """A few digits, different ones for each seed."""
        part = slice(seed * FEW, (seed + 1) * FEW)
        return self.x[part], self.y[part]


def split_digits():
    x, y = load_digits()
    return Split(x[HELD_OUT:], y[HELD_OUT:], x[:HELD_OUT], y[:HELD_OUT])


def predict(tensor, model, x):
    """The values of a symbolic tensor of the model."""
    return keras.Model(model.input, tensor).predict(x, batch_size=500, verbose=0)


def measure(model, x, y):
    """Cross-entropy and accuracy, without any penalty."""
    p = model.predict(x, batch_size=500, verbose=0)
    return -np.log(np.maximum(p[np.arange(len(y)), y], 1e-9)).mean(), (p.argmax(axis=1) == y).mean()


def sparse_network(penalty=None):
    """784-256-10, with a penalty on the 256 units."""
    digits = keras.Input((28, 28, 1))
    h = layers.Dense(256, activation="relu", name="hidden")(layers.Flatten()(digits))
    h = kp.layers.ActivityPenalty(penalty, name="penalty")(h) if penalty else h
    model = keras.Model(digits, layers.Dense(10, activation="softmax")(h))
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    return model


def sparsity(split, seed):
    """Accuracy and units in use: of the trained network, and after further training with each penalty."""

    def trained(penalty=None, weights=None):
        keras.utils.set_random_seed(seed)
        model = sparse_network(penalty)
        if weights:
            model.set_weights(weights)
        model.fit(split.x, split.y, batch_size=150, epochs=8, verbose=0)
        h = predict(model.get_layer("hidden").output, model, split.held_x)
        in_use = h > 0.01 * h.max(axis=1, keepdims=True)  # relative: a penalty cannot win by shrinking
        used = {"used": in_use.sum(axis=1).mean(), "largest": h.max(axis=1).mean()}
        return {"accuracy": measure(model, split.held_x, split.held_y)[1], **used}, model.get_weights()

    plain, weights = trained()
    rows = {("no penalty", 0.0): plain}
    for name, (penalty, strengths) in SPARSE.items():
        rows |= {(name, s): trained(penalty(s), weights)[0] for s in strengths}
    return rows


def overfitting(split, seed):
    """A small convolutional network on few digits, with `DeCov` on its dense layer, as in the paper."""
    x, y = split.few(seed)
    rows = {}
    for strength in DECOV:
        keras.utils.set_random_seed(seed)
        digits = keras.Input((28, 28, 1))
        h = layers.Conv2D(8, 5, strides=2, activation="relu")(digits)
        h = layers.Conv2D(16, 3, strides=2, activation="relu")(h)
        h = layers.Dense(128, activation="relu")(layers.Flatten()(h))
        h = kp.layers.ActivityPenalty(kp.regularizers.DeCov(strength), name="decov")(h)
        model = keras.Model(digits, layers.Dense(10, activation="softmax")(h))
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=50, epochs=40, verbose=0)
        (loss, accuracy), held = measure(model, x, y), measure(model, split.held_x, split.held_y)
        rows["DeCov", strength] = {
            "loss": loss,
            "held-out loss": held[0],
            "accuracy": held[1],
            "gap": held[0] - loss,
            "accuracy gap": accuracy - held[1],
        }
    return rows


def tightness(split, seed):
    """How close the rows of a class are in the hidden layer, and how a linear probe does on a few labels."""
    rows = {}
    for name, (loss, weight) in CLASSES.items():
        keras.utils.set_random_seed(seed)
        digits = keras.Input((28, 28, 1))
        h = layers.Dense(256, activation="relu")(layers.Flatten()(digits))
        h = layers.Dense(64, activation="relu", name="hidden")(h)
        model = keras.Model(digits, layers.Dense(10, activation="softmax")(h))
        model = kp.models.HiddenOutputs(model, hidden=["hidden"])
        terms = (
            {"hidden_losses": {"hidden": loss()}, "hidden_loss_weights": {"hidden": weight}} if loss else {}
        )
        model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", **terms)
        model.fit(split.x, split.y, batch_size=150, epochs=8, verbose=0)
        h = predict(model.model.get_layer("hidden").output, model.model, split.held_x)
        accuracy = measure(model, split.held_x, split.held_y)[1]
        probes = {k: probe(h / h.std(), split.held_y, k, seed) for k in LABELS}
        rows[name, weight] = {"accuracy": accuracy, "ratio": ratio(h, split.held_y), **probes}
    return rows


def ratio(h, y):
    """The mean distance within a class over the mean distance between classes."""
    squares = np.sum(h**2, axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * h @ h.T, 0))
    same, pairs = y[:, None] == y, ~np.eye(len(y), dtype=bool)
    return distances[same & pairs].mean() / distances[~same].mean()


def probe(h, y, labels, seed):
    """The accuracy of a linear classifier with a few labels per class, on all other held-out digits."""
    rng, scores = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        known = np.concatenate([rng.choice(np.flatnonzero(y == c), labels, replace=False) for c in range(10)])
        others = np.setdiff1d(np.arange(len(y)), known)
        linear = LogisticRegression(max_iter=200).fit(h[known], y[known])
        scores.append(linear.score(h[others], y[others]))
    return np.mean(scores)


def at_equal_accuracy(run, name):
    """The units in use where a penalty's curve crosses the accuracy of no penalty, interpolated."""
    rows = [run[name, s] for s in reversed(SPARSE[name][1])]
    accuracies = np.maximum.accumulate([row["accuracy"] for row in rows])
    used = np.log([row["used"] for row in rows])
    return np.exp(np.interp(run["no penalty", 0.0]["accuracy"], accuracies, used))


def averaged(runs):
    """Mean and standard deviation over the seeds of each measure, by case."""
    return {
        case: {m: (np.mean([r[case][m] for r in runs]), np.std([r[case][m] for r in runs])) for m in row}
        for case, row in runs[0].items()
    }


COLUMNS = {
    "used": ("units in use\nper digit", 1, 1),
    "largest": ("largest\nactivation", 1, 1),
    "loss": ("loss on\ntraining digits", 1, 2),
    "held-out loss": ("held-out\nloss", 1, 2),
    "gap": ("gap of\nlosses", 1, 2),
    "accuracy gap": ("gap of\naccuracies (%)", 100, 1),
    "ratio": ("within /\nbetween", 1, 2),
    "accuracy": ("accuracy\n(%)", 100, 1),
    **{k: (f"probe (%), {k}\nper class", 100, 1) for k in LABELS},
}


def print_table(console, title, means):
    """One row per case: means over the seeds, and their standard deviations."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("strength", justify="right")
    measures = list(next(iter(means.values())))
    for name in measures:
        table.add_column(COLUMNS[name][0], justify="right")
    for (case, strength), row in means.items():
        cells = []
        for name in measures:
            _, scale, digits = COLUMNS[name]
            mean, deviation = (scale * value for value in row[name])
            cells.append(f"{mean:.{digits}f} ± {deviation:.{digits}f}")
        table.add_row(case, f"{strength:g}" if strength else "", *cells)
    console.print(table)


def lines(sparse_runs, sparse, few, tight):
    """The results, one line per effect."""
    plain = sparse["no penalty", 0.0]
    units = {name: [at_equal_accuracy(run, name) for run in sparse_runs] for name in SPARSE}
    none, paper = few["DeCov", 0.0], few["DeCov", 0.1]
    alone, *others = ((case, row) for (case, _), row in tight.items())
    yield (
        f"units in use per digit at the accuracy of no penalty ({plain['accuracy'][0]:.1%}, "
        f"{plain['used'][0]:.0f} units): "
        + ", ".join(f"{name} {np.mean(v):.1f} ± {np.std(v):.1f}" for name, v in units.items())
    )
    yield (
        f"DeCov(0.1): gap in loss {none['gap'][0]:.2f} -> {paper['gap'][0]:.2f}, in accuracy "
        f"{none['accuracy gap'][0]:.1%} -> {paper['accuracy gap'][0]:.1%}"
    )
    yield "within / between classes, probe with one label a class: " + ", ".join(
        f"{case} {row['ratio'][0]:.2f} and {row[1][0]:.0%}" for case, row in (alone, *others)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    out, start = parser.parse_args().out, time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    split, console = split_digits(), Console(width=120)
    runs = {f: [f(split, seed) for seed in SEEDS] for f in (sparsity, overfitting, tightness)}
    sparse, few, tight = (averaged(r) for r in runs.values())
    print_table(console, f"1. Sparsity at equal accuracy, {HELD_OUT:,} held-out digits", sparse)
    print_table(console, f"2. Overfitting on {FEW} digits", few)
    print_table(console, "3. Tighter classes", tight)
    draw(runs[sparsity], sparse, few, tight, out / "published_effects.png")
    for number, line in enumerate(lines(runs[sparsity], sparse, few, tight), 1):
        print(f"{number}. {line}")
    cpu = time.process_time()
    print(f"{time.perf_counter() - start:.0f} s, {cpu:.0f} s of CPU, figure: {out / 'published_effects.png'}")


if __name__ == "__main__":
    main()
