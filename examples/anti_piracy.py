"""How do I make a classifier useless to whoever steals it?

The network is trained on 1,797 real digits. It is right on inputs that went through its key, and at chance on
others. There are two kinds of key: one pattern for all images, or a small network that makes one per image.
From a clone:

    python examples/anti_piracy.py --out out
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from _common import in_new_process, save_and_reload

import keras
import numpy as np
from _anti_piracy_figure import draw
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_penalties as kp

BOUND, GAMMA = 0.5, 0.1
GAMMAS = (0.01, 1.0, 10.0, 100.0)  # besides GAMMA itself
SEEDS = (0, 1, 2)


@keras.saving.register_keras_serializable(package="anti_piracy_example")
class MinusCrossEntropy(keras.losses.Loss):
    """What people often use for the raw input, and should not: it has no lower bound."""

    def call(self, y_true, y_pred):
        return -keras.losses.categorical_crossentropy(y_true, y_pred)


RAW_LOSSES = {
    "Confusion": lambda: None,  # the default of AntiPiracy
    "LogConfusion": kp.losses.LogConfusion,
    "uniform answers": lambda: kp.losses.CategoricalCrossentropy(label_smoothing=1.0),
    "-CE": MinusCrossEntropy,
}


def digits(seed):
    """The 8 x 8 digits as 64 floats in [0, 1]: three quarters to train on and a quarter held out."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    x, held_x, y, held_y = train_test_split(x, y, test_size=0.25, stratify=y, random_state=seed)
    return (x, y), (held_x, held_y)


def classifier():
    """Two hidden layers; nothing in it knows about a key."""
    return keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ],
        name="classifier",
    )


def generator():
    """A key with one perturbation per image, `x + BOUND * tanh(...)`, built from Keras' own layers."""
    x = keras.Input((64,))
    h = keras.layers.Dense(64, activation="relu")(x)
    change = keras.layers.Rescaling(BOUND)(keras.layers.Dense(64, activation="tanh")(h))
    return keras.Model(x, keras.layers.Add()([x, change]), name="generator")


KEYS = {"one pattern": lambda: kp.layers.UniversalPerturbation(BOUND), "generator": generator}


@dataclass
class Result:
    """The results of a trained model on the held-out digits."""

    model: keras.Model
    history: dict
    processed: float
    raw: float
    loss: float
    change: float  # of a pixel, root mean square
    favourite: float  # the share of raw images that get the most frequent answer


def fit(model, seed, epochs, watch=False):
    """Train on the digits of a seed; with `watch`, measure the held-out ones after each epoch."""
    train, held_out = digits(seed)
    batch, watched = 128, {"validation_data": held_out, "validation_batch_size": len(held_out[0])}
    steps = -(-len(train[0]) // batch)  # a whole epoch in one compiled call
    model.compile(keras.optimizers.Adam(2e-3), steps_per_execution=steps, **compile_arguments(model))
    return model.fit(*train, batch_size=batch, epochs=epochs, verbose=0, **(watched if watch else {})).history


def compile_arguments(model):
    """`AntiPiracy` has its losses and metrics; the plain classifier needs them here."""
    if isinstance(model, kp.models.AntiPiracy):
        return {}
    return {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


def train_plain(seed, epochs):
    """The held-out accuracy of the same classifier without a key."""
    keras.utils.set_random_seed(seed)
    model = classifier()
    fit(model, seed, epochs)
    return model.evaluate(*digits(seed)[1], verbose=0, return_dict=True)["accuracy"]


def train(key, seed, epochs, gamma=GAMMA, raw_loss="Confusion", watch=False):
    """Train a classifier together with a key, and measure both on held-out digits."""
    keras.utils.set_random_seed(seed)
    parts = classifier(), KEYS[key]()
    model = kp.models.AntiPiracy(*parts, alpha=1.0, beta=1.0, gamma=gamma, raw_loss=RAW_LOSSES[raw_loss]())
    history = fit(model, seed, epochs, watch)

    x, y = digits(seed)[1]
    logs = model.evaluate(x, y, batch_size=len(x), verbose=0, return_dict=True)
    outputs = {name: keras.ops.convert_to_numpy(v) for name, v in model(x).items()}
    change = outputs["processed"] - x
    answers = outputs["raw"].argmax(axis=-1)
    return Result(
        model,
        history,
        processed=logs["processed_accuracy"],
        raw=logs["raw_accuracy"],
        loss=logs["loss"],
        change=float(np.sqrt(np.mean(change**2))),
        favourite=float(np.bincount(answers).max() / len(answers)),
    )


def table(title, *headings):
    """An empty table: text on the left, numbers on the right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for heading in headings:
        made.add_column(heading, justify="left" if heading in ("key", "raw loss", "seed") else "right")
    return made


def numbers(result):
    """The columns that all tables share."""
    percent = [f"{100 * v:.1f}" for v in (result.processed, result.raw, result.favourite)]
    return [*percent, f"{result.change:.3f}"]


COLUMNS = ("processed", "raw", "raw: the most\nfrequent answer", "change\nof a pixel")


def print_keys(console, plain, results):
    """Both kinds of key on each seed."""
    made = table("Accuracy on held-out digits (%)", "key", "seed", "plain\nclassifier", *COLUMNS)
    for (key, seed), result in results.items():
        made.add_row(
            key, str(seed), f"{100 * plain[seed]:.1f}", *numbers(result), end_section=seed == SEEDS[-1]
        )
    console.print(made)


def print_raw_losses(console, results):
    """What the loss on the raw input does to the training."""
    made = table("The loss on the raw input", "raw loss", "key", "seed", *COLUMNS, "loss")
    for (raw_loss, key, seed), result in results.items():
        made.add_row(raw_loss, key, str(seed), *numbers(result), f"{result.loss:,.2f}")
    console.print(made)


def print_gammas(console, results):
    """What a smaller change of the image costs."""
    made = table("One pattern, over gamma", "gamma", *COLUMNS)
    for gamma, result in sorted(results.items()):
        made.add_row(f"{gamma:g}", *numbers(result))
    console.print(made)


APART = """
import sys, json, numpy as np
import keras, keras_penalties
data, *paths = sys.argv[1:]
data = np.load(data)
models = [keras.saving.load_model(path) for path in paths]
right = []
for classifier, key in zip(models[::2], models[1::2]):
    inputs = key.predict(data["x0"], verbose=0), data["x0"]
    right += [np.mean(classifier.predict(x, verbose=0).argmax(axis=-1) == data["y"]) for x in inputs]
print(json.dumps(right))
"""


def save_apart(models, out):
    """Save each classifier and key separately, and join them again in a new process."""
    files = []
    for name, model in models.items():
        for part, made in (("classifier", model.classifier), ("key", model.transform)):
            files.append(out / f"{name}_{part}.keras")
            made.save(files[-1])
    right = in_new_process(APART, out / f"{next(iter(models))}_data.npz", *files)
    for name, both, alone in zip(models, right[::2], right[1::2], strict=True):
        print(f"{name}, saved separately: the classifier with its key {both:.1%}, without it {alone:.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the models and the figure")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--thorough", action="store_true", help="all seeds for the other raw losses too")
    arguments = parser.parse_args()
    out, epochs, start = arguments.out, arguments.epochs, time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    console = Console(width=120)

    plain = {seed: train_plain(seed, epochs) for seed in SEEDS}
    runs = [(key, seed) for key in KEYS for seed in SEEDS]
    keys = {run: train(*run, epochs, watch=run == runs[0]) for run in runs}
    print_keys(console, plain, keys)
    others = [name for name in RAW_LOSSES if name != "Confusion"]
    few = runs if arguments.thorough else [(key, SEEDS[0]) for key in KEYS]
    forms = {(name, *run): train(*run, epochs, raw_loss=name) for name in others for run in few}
    print_raw_losses(console, forms)
    shown, shown_generator = keys["one pattern", 0], keys["generator", 0]
    gammas = {GAMMA: shown} | {g: train("one pattern", 0, epochs, gamma=g) for g in GAMMAS}
    print_gammas(console, gammas)

    held_out = digits(0)[1]
    models = {"anti_piracy": shown.model, "anti_piracy_generator": shown_generator.model}
    for name, model in models.items():
        print(f"{name}:")
        save_and_reload(model, *held_out, out, name)
    save_apart(models, out)
    draw(plain[0], shown, shown_generator, gammas, held_out, out / "anti_piracy.png")

    mean = {
        key: [np.mean([getattr(keys[key, s], v) for s in SEEDS]) for v in ("processed", "raw")]
        for key in KEYS
    }
    print(
        f"plain {np.mean(list(plain.values())):.1%}; processed and raw: "
        + ", ".join(f"{key} {a:.1%} and {b:.1%}" for key, (a, b) in mean.items())
        + f"; {time.perf_counter() - start:.0f} s, figure: {out / 'anti_piracy.png'}"
    )


if __name__ == "__main__":
    main()
