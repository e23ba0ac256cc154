"""How hard should a penalty press? Say what it should measure instead.

The hidden layer of an MNIST network is brought to three chosen mean activations with `schedules.Target`,
three times each, on 5,000 real digits; and once each with a strength that warms up and one that goes in
cycles. From a clone:

    python examples/strengths.py --out out
"""

import argparse
import time
from pathlib import Path

from _common import BLUE, GREY, ORANGE, PINK, load_digits, pyplot, save_and_reload

import keras
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import keras_penalties as kp

TARGETS, SEEDS = (0.2, 0.1, 0.05), (0, 1, 2)
EPOCHS, BATCH, TRAINED_ON = 15, 64, 4000
STEPS = EPOCHS * -(-TRAINED_ON // BATCH)


def split():
    """The digits as rows, some to train on and the rest held out."""
    x, y = load_digits()
    x = x.reshape(len(x), -1)
    held_out = len(x) - TRAINED_ON
    return (x[held_out:], y[held_out:]), (x[:held_out], y[:held_out])


def network(strength, seed):
    """A network whose hidden layer has the mean absolute activation as its penalty."""
    keras.utils.set_random_seed(seed)
    digits = keras.Input((784,))
    h = keras.layers.Dense(128, activation="relu", name="hidden")(digits)
    h = kp.layers.ActivityPenalty(kp.regularizers.L1(strength, per="element"), name="activity")(h)
    model = keras.Model(digits, keras.layers.Dense(10, activation="softmax")(h))
    rate = keras.optimizers.schedules.PolynomialDecay(1e-3, STEPS, 1e-4)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(strength, seed, data, held_out):
    """The trained model, its history with the measured activity by epoch, and what it does at last."""
    model = network(strength, seed)
    history = model.fit(*data, batch_size=BATCH, epochs=EPOCHS, verbose=0).history
    reader = keras.Model(model.input, model.get_layer("hidden").output)
    activity, unseen = (float(np.mean(reader.predict(x, verbose=0))) for x in (data[0], held_out[0]))
    accuracy = model.evaluate(*held_out, verbose=0, return_dict=True)["accuracy"]
    return model, history, {"activity": activity, "held out": unseen, "accuracy": accuracy}


def draw(plain, driven, moving, path):
    """The activity by epoch, the strengths that brought it there, and the schedules."""
    plt = pyplot()
    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 5), layout="constrained")
    fig.suptitle(
        "A target brings the hidden layer to the activity that is asked for, and finds the strength itself",
        fontsize=14,
        fontweight="bold",
    )
    epochs = np.arange(1, EPOCHS + 1)
    for colour, target in zip((BLUE, ORANGE, PINK), TARGETS, strict=True):
        for history, _ in driven[target]:
            strength = np.array(history["activity_strength"])
            left.plot(epochs, np.array(history["activity"]) / strength, color=colour, lw=2, alpha=0.8)
            middle.plot(epochs, strength, color=colour, lw=2, alpha=0.8)
        left.axhline(target, color=colour, ls=":", lw=1.5)
        accuracy = np.mean([last["accuracy"] for _, last in driven[target]])
        left.text(
            EPOCHS, target * 1.06, f"target {target:g}, accuracy {accuracy:.1%}", color=colour, ha="right"
        )
    activity = np.mean([last["activity"] for last in plain])
    left.axhline(activity, color=GREY, ls="--", lw=1.5)
    accuracy = np.mean([last["accuracy"] for last in plain])
    left.text(EPOCHS, activity * 1.06, f"no penalty, accuracy {accuracy:.1%}", color=GREY, ha="right")
    left.set(yscale="log", xlabel="epoch", ylim=(0.03, activity * 1.6))
    left.set_yticks((0.05, 0.1, 0.2, 0.5), ("0.05", "0.1", "0.2", "0.5"))
    left.minorticks_off()
    left.set_title("Mean activation of the hidden layer")
    middle.set(yscale="log", xlabel="epoch")
    middle.set_title("Strength that the target found")
    for (name, history), colour in zip(moving.items(), (BLUE, ORANGE), strict=True):
        right.plot(epochs, history["activity_strength"], "o-", color=colour, lw=2, label=name)
    right.set(xlabel="epoch", ylim=(0, None))
    right.legend(loc="lower right")
    right.set_title("Schedules, as means of epochs")
    fig.savefig(path, dpi=120)
    plt.close(fig)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="where files and the figure go")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    begun, console = time.time(), Console()
    data, held_out = split()

    plain = [train(0.0, seed, data, held_out)[2] for seed in SEEDS]
    driven = {}
    for target in TARGETS:
        strength = kp.schedules.Target(target, rate=0.05, initial=0.1)
        runs = [train(strength, seed, data, held_out) for seed in SEEDS]
        model, driven[target] = runs[-1][0], [run[1:] for run in runs]
    schedules = {
        "warm-up: PolynomialDecay": keras.optimizers.schedules.PolynomialDecay(0.0, STEPS // 2, 1.0),
        "cycles: Cyclical": kp.schedules.Cyclical(0.8, STEPS // 4),
    }
    moving = {name: train(schedule, 0, data, held_out)[1] for name, schedule in schedules.items()}

    table = Table(box=box.SIMPLE_HEAD, title="Three seeds each", title_justify="left")
    for column in ("target", "activity", "off by at most", "on held-out digits", "accuracy", "strength"):
        table.add_column(column, justify="right")

    def row(name, lasts, off, strength):
        columns = [f"{np.mean([last[k] for last in lasts]):.4f}" for k in ("activity", "held out")]
        accuracy = " ".join(f"{last['accuracy']:.1%}" for last in lasts)
        table.add_row(name, columns[0], off, columns[1], accuracy, strength)

    row("none", plain, "", "0")
    worst = 0.0
    for target, runs in driven.items():
        off = max(abs(last["activity"] / target - 1) for _, last in runs)
        found = " ".join(f"{history['activity_strength'][-1]:.2f}" for history, _ in runs)
        row(f"{target:g}", [last for _, last in runs], f"{off:.1%}", found)
        worst = max(worst, off)
    console.print(table)
    save_and_reload(model, *held_out, out, "strengths")
    draw(plain, driven, moving, out / "strengths.png")
    print(
        f"activity within {worst:.1%} of each of {len(TARGETS)} targets, {len(SEEDS)} seeds each; "
        f"{time.time() - begun:.0f} s; figure: {out / 'strengths.png'}"
    )
    if worst > 0.05:
        raise RuntimeError("a target was missed by more than 5%")


if __name__ == "__main__":
    main()
