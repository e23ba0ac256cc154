"""How strong should a penalty be? Choose what it should measure instead.

`schedules.Target` brings the hidden layer of an MNIST network to three chosen mean activations, with three
seeds each, on 4,000 real digits. It brings other layers and penalties to half of what they measure without a
penalty, with and without damping. Two more strengths follow schedules. From a clone:

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
from rich.progress import track
from rich.table import Table

import keras_penalties as kp

TARGETS, SEEDS = (0.2, 0.1, 0.05), (0, 1, 2)
EPOCHS, BATCH, TRAINED_ON = 15, 80, 4000
STEPS = EPOCHS * TRAINED_ON // BATCH
SMOOTH, NEAR = 20, 0.1  # a target is met while the mean of so many batches is within this share of it
PENALTIES = {
    "L1": lambda strength: kp.regularizers.L1(strength, per="element"),
    "L2": kp.regularizers.L2,
    "DeCov": kp.regularizers.DeCov,
}


class Measures(keras.callbacks.Callback):
    """What the penalty measures in each batch: the log has the mean of the epoch's batches so far."""

    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        before = batch * self.mean if batch else 0.0
        self.mean = logs["activity_measure"]
        self.values.append((batch + 1) * self.mean - before)

    @property
    def smooth(self):
        return np.convolve(self.values, np.ones(SMOOTH) / SMOOTH, "valid")


def settled(measures, target):
    """After how many batches the measure is near its target for good, and how far it is from it at most after
    it first came there."""
    errors = measures.smooth / target - 1
    near = np.abs(errors) < NEAR
    if not near[-1]:
        return None, None
    first, away = np.argmax(near), np.flatnonzero(~near)
    return (away[-1] + 1 if len(away) else 0) + SMOOTH, np.max(np.abs(errors[first:]))


def split():
    """The digits, split into training and held-out digits."""
    x, y = load_digits()
    held_out = len(x) - TRAINED_ON
    return (x[held_out:], y[held_out:]), (x[:held_out], y[:held_out])


def network(penalty, seed, convolutional=False):
    """A small network, dense or convolutional, with the penalty on its last hidden layer."""
    keras.utils.set_random_seed(seed)
    digits = keras.Input((28, 28, 1))
    if convolutional:
        h = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(digits)
        h = keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(h)
        h = keras.layers.Flatten(name="hidden")(h)
    else:
        h = keras.layers.Flatten()(digits)
        h = keras.layers.Dense(128, activation="relu", name="hidden")(h)
    h = kp.layers.ActivityPenalty(penalty, name="activity")(h)
    model = keras.Model(digits, keras.layers.Dense(10, activation="softmax")(h))
    rate = keras.optimizers.schedules.PolynomialDecay(1e-3, STEPS, 1e-4)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(model, data, callbacks=()):
    return model.fit(*data, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=list(callbacks)).history


def trained(strength, seed, data, held_out):
    """The dense network with a mean absolute activation as its penalty: the model, its history, what it
    measured in each batch, and what it does in the end."""
    model, measures = network(PENALTIES["L1"](strength), seed), Measures()
    callbacks = [measures] if isinstance(strength, kp.schedules.Target) else []
    history = train(model, data, callbacks)
    reader = keras.Model(model.input, model.get_layer("hidden").output)
    activity, unseen = (float(np.mean(reader.predict(x, verbose=0))) for x in (data[0], held_out[0]))
    accuracy = model.evaluate(*held_out, verbose=0, return_dict=True)["accuracy"]
    return model, history, measures, {"activity": activity, "held out": unseen, "accuracy": accuracy}


def halved(name, convolutional, data):
    """A target, half of what the penalty `name` measures in the end of a training without one, and what it
    measures in each batch on the way there, with damping and without."""
    free = network(PENALTIES[name](1.0), 0, convolutional)
    plain = keras.Model(free.input, free.layers[-1](free.get_layer("hidden").output))
    plain.compile(keras.optimizers.Adam(5e-4), "sparse_categorical_crossentropy")
    train(plain, data)
    hidden = keras.Model(free.input, free.get_layer("hidden").output).predict(data[0][:BATCH], verbose=0)
    target, found = float(free.get_layer("activity").penalty.measure(hidden)) / 2, {}
    for way, options in {"damped": {}, "undamped": {"rate": 0.05, "damping": 0.0}}.items():
        measures = Measures()
        strength = kp.schedules.Target(target, **options)
        train(network(PENALTIES[name](strength), 0, convolutional), data, [measures])
        found[way] = measures
    return target, found


def draw(plain, driven, halves, moving, path):
    """Activities and strengths by batch and epoch, with and without damping, and the schedules."""
    plt = pyplot()
    fig, ((left, right), (below, last)) = plt.subplots(2, 2, figsize=(13, 9), layout="constrained")
    fig.suptitle(
        "A target brings a layer to the wanted activity and sets the strength by itself",
        fontsize=14,
        fontweight="bold",
    )
    batches, epochs = np.arange(SMOOTH, STEPS + 1), np.arange(1, EPOCHS + 1)
    for colour, target in zip((BLUE, ORANGE, PINK), TARGETS, strict=True):
        for history, measures, _ in driven[target]:
            left.plot(batches, measures.smooth, color=colour, lw=1.5, alpha=0.8)
            below.plot(epochs, history["activity_strength"], color=colour, lw=2, alpha=0.8)
        left.axhline(target, color=colour, ls=":", lw=1.5)
        accuracy = np.mean([end["accuracy"] for *_, end in driven[target]])
        text = f"target {target:g}, accuracy {accuracy:.1%}"
        left.text(STEPS, target * 1.1, text, color=colour, ha="right")
    activity, accuracy = (np.mean([end[key] for end in plain]) for key in ("activity", "accuracy"))
    left.axhline(activity, color=GREY, ls="--", lw=1.5)
    left.text(STEPS, activity * 1.1, f"no penalty, accuracy {accuracy:.1%}", color=GREY, ha="right")
    left.set(yscale="log", xlabel="batch", ylim=(0.03, activity * 1.6))
    left.set_yticks((0.05, 0.1, 0.2, 0.5), ("0.05", "0.1", "0.2", "0.5"))
    left.minorticks_off()
    left.set_title("Mean activation of a dense layer, three seeds each")
    target, found = halves["L1", True]
    for (way, measures), colour in zip(found.items(), (BLUE, GREY), strict=True):
        right.plot(batches, measures.smooth / target, color=colour, lw=2, label=way)
    right.axhline(1.0, color="black", ls=":", lw=1.5)
    right.set(xlabel="batch", ylim=(0, None))
    right.legend(loc="lower right")
    right.set_title("Feature maps: mean activation as a multiple of the target")
    below.set(yscale="log", xlabel="epoch")
    below.set_title("Strength that the target found for the dense layer")
    for (name, history), colour in zip(moving.items(), (BLUE, ORANGE), strict=True):
        last.plot(epochs, history["activity_strength"], "o-", color=colour, lw=2, label=name)
    last.set(xlabel="epoch", ylim=(0, None))
    last.legend(loc="lower right")
    last.set_title("Schedules, as means of epochs")
    fig.savefig(path, dpi=120)
    plt.close(fig)


def table(title, *columns):
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in columns:
        made.add_column(column, justify="right")
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for files and the figure")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    begun, console = time.time(), Console(width=110)
    data, held_out = split()

    plain = [trained(0.0, seed, data, held_out)[-1] for seed in track(SEEDS, "no penalty", console=console)]
    driven = {}
    for target in track(TARGETS, "targets", console=console):
        runs = [trained(kp.schedules.Target(target), seed, data, held_out) for seed in SEEDS]
        model, driven[target] = runs[-1][0], [run[1:] for run in runs]
    schedules = {
        "warm-up: PolynomialDecay": keras.optimizers.schedules.PolynomialDecay(0.0, STEPS // 2, 1.0),
        "cycles: Cyclical": kp.schedules.Cyclical(0.8, STEPS // 4),
    }
    moving = {name: trained(schedule, 0, data, held_out)[1] for name, schedule in schedules.items()}
    cases = [(name, conv) for name in PENALTIES for conv in (False, True)]
    halves = {case: halved(*case, data) for case in track(cases, "half of other measures", console=console)}

    columns = (
        "target",
        "activity",
        "off by at most",
        "on held-out digits",
        "accuracy",
        "strength",
        "batches",
    )
    ends = table("Three seeds each", *columns)

    def row(name, runs, off, strength, steps):
        means = [f"{np.mean([end[k] for end in runs]):.4f}" for k in ("activity", "held out")]
        accuracy = " ".join(f"{end['accuracy']:.1%}" for end in runs)
        ends.add_row(name, means[0], off, means[1], accuracy, strength, steps)

    row("none", plain, "", "0", "")
    worst = 0.0
    for target, runs in driven.items():
        off = max(abs(end["activity"] / target - 1) for *_, end in runs)
        found = " ".join(f"{history['activity_strength'][-1]:.2f}" for history, *_ in runs)
        steps = " ".join(str(settled(measures, target)[0]) for _, measures, _ in runs)
        row(f"{target:g}", [end for *_, end in runs], f"{off:.1%}", found, steps)
        worst = max(worst, off)
    console.print(ends)
    ways = table("To half of what it measures without", "layer", "penalty", "way", "batches", "then off by")
    for (name, conv), (target, found) in halves.items():
        for way, measures in found.items():
            steps, off = settled(measures, target)
            off = "" if off is None else f"{off:.0%}"
            ways.add_row("feature maps" if conv else "dense", name, way, str(steps or "not in time"), off)
    console.print(ways)
    save_and_reload(model, *held_out, out, "strengths")
    draw(plain, driven, halves, moving, out / "strengths.png")
    print(
        f"activity within {worst:.1%} of each of {len(TARGETS)} targets, {len(SEEDS)} seeds each; "
        f"{time.time() - begun:.0f} s; figure: {out / 'strengths.png'}"
    )
    if worst > 0.05:
        raise RuntimeError("a target was missed by more than 5%")


if __name__ == "__main__":
    main()
