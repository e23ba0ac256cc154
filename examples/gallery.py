"""What does each penalty do? All of them, on the same small network and real digits.

A convolutional network learns 4,000 MNIST digits, once without a penalty and once with each. Each panel shows
the values that the penalty acts on, without it (grey) and with it (blue). From a clone:

    python examples/gallery.py --out out
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from _common import load_digits

import keras
import numpy as np
import tensorflow as tf
from _gallery_figure import FAMILIES, draw
from keras import layers, ops
from rich import box
from rich.console import Console
from rich.table import Table

import keras_penalties as kp

R = kp.regularizers
HELD_OUT, EPOCHS, UNITS, EXPERTS = 1000, 4, 64, 8
OWN_NETWORK = ("sigmoids", "router", "code")  # these change the network, so each has its own plain one


@dataclass
class Case:
    """A penalty, the tensor that it penalizes, and how its effect is drawn."""

    penalty: R.Penalty
    on: str
    view: str
    does: str
    before: list | None = None  # the tensors on held-out digits, without the penalty and with it
    after: list | None = None
    accuracies: tuple = ()

    @property
    def name(self):
        return type(self.penalty).__name__

    @property
    def measures(self):
        """What the penalty measures on held-out digits, without it and with it."""
        values = [self.before, self.after]
        return tuple(float(self.penalty.measure(v if len(v) > 1 else v[0])) for v in values)


def cases():
    return [
        Case(R.L1(0.003), "hidden", "activations", "smaller, and more zeros"),
        Case(R.L2(0.01), "hidden", "activations", "large ones become small"),
        Case(R.L1L2(l1=0.001, l2=0.01), "hidden", "activations", "both"),
        Case(R.Excess(0.1, threshold=2.0), "hidden", "activations", "few remain beyond 2"),
        Case(R.KLSparsity(0.03, target=0.05), "sigmoids", "means", "each unit active 5% of the time"),
        Case(R.TransformedL1(0.005, beta=0.1), "hidden", "profile", "few units, and they stay large"),
        Case(R.LogSparsity(0.003, eps=0.1), "hidden", "profile", "few units, small ones go first"),
        Case(R.Hoyer(0.03), "hidden", "profile", "few units, at any scale"),
        Case(R.HoyerSquare(0.01), "hidden", "profile", "few units: a soft count"),
        Case(R.GroupLasso(0.03, axis=(1, 2)), "maps", "channels", "whole channels become zero"),
        Case(R.DeCov(0.1), "hidden", "correlations", "features unlike each other"),
        Case(R.Covariance(1.0), "hidden", "correlations", "features unlike each other"),
        Case(R.Variance(1.0), "hidden", "deviations", "no feature is constant"),
        Case(R.KoLeo(0.1), "hidden", "neighbours", "no two digits too alike"),
        Case(R.TotalVariation(0.003), "maps", "feature_map", "flat areas, few edges"),
        Case(R.TemporalSmoothness(10.0), "maps", "steps", "small steps from row to row"),
        Case(R.Confidence(1.0), "probabilities", "surest", "less sure of itself"),
        Case(R.Entropy(1.0), "probabilities", "surest", "more sure of itself"),
        Case(R.MarginalEntropy(1.0, from_logits=True), "router", "loads", "all experts get digits"),
        Case(R.ZLoss(0.03), "logits", "normalizers", "logits near a sum of 1"),
        Case(R.LoadBalance(0.1), "router", "loads", "all experts get digits"),
        Case(R.GradientPenalty(0.1), "slope", "slopes", "slopes of length 1"),
        Case(R.MMD(10.0, "imq", bandwidth=8.0), "before", "normal", "a code that is normal"),
        Case(R.SIGReg(0.1), "before", "normal", "a code that is normal"),
        Case(R.GaussianKL(0.01), "code", "nats", "a code with less information"),
        Case(R.Hint(0.03), "teacher", "apart", "near a teacher's layer"),
        Case(
            R.Match(0.3, "cosine_similarity", detach="second"),
            "teacher",
            "apart",
            "the direction of a teacher's",
        ),
        Case(R.AttentionTransfer(10.0), "teacher_maps", "attention", "active where a teacher's is"),
        Case(R.RelationalKD(10.0, angle=0.0), "teacher", "related", "distances like a teacher's"),
        Case(R.CKA(1.0, detach="second"), "teacher", "related", "similarities like a teacher's"),
        Case(R.CORAL(10.0), "domains", "differences", "inverted digits vary like digits"),
        Case(R.BarlowTwins(0.03), "views", "crossed", "two views agree, unit by unit"),
        Case(R.VICReg(0.01), "views", "apart", "two views close, no collapse"),
        Case(R.InfoNCE(1.0, temperature=0.5), "views", "apart", "close to its view, far from others"),
        Case(R.TripletMargin(0.03), "triplets", "apart", "closer to a view than to others"),
    ]


def exported():
    """The names of all penalties of the package that can be used directly."""
    bases = {"Penalty", "PerExamplePenalty", "BatchStatisticPenalty"}
    return set(R.__all__) - bases


def split_digits():
    x, y = load_digits()
    return (x[HELD_OUT:], y[HELD_OUT:]), (x[:HELD_OUT], y[:HELD_OUT])


def build(on="", penalty=None, teacher=None):
    """The network, with `penalty` on the tensors called `on`; and a model that reads these."""
    keras.utils.set_random_seed(0)
    read = []

    def tap(name, *tensors):
        if name == on:
            read.extend(tensors)
            if penalty is not None:
                given = list(tensors) if len(tensors) > 1 else tensors[0]
                out = kp.layers.ActivityPenalty(penalty, name="penalty")(given)
                return out[0] if len(tensors) > 1 else out
        return tensors[0]

    digits = keras.Input((28, 28, 1), name="digits")
    conv = layers.Conv2D(8, 5, strides=2, activation="relu", name="maps")
    dense = layers.Dense(UNITS, name="hidden")
    relu = layers.Activation("sigmoid" if on == "sigmoids" else "relu")
    maps = tap("maps", conv(digits))
    if on == "teacher_maps":
        maps = tap(on, maps, teacher(digits)[1])
    flat = layers.Flatten()(maps)
    before = tap("before", dense(flat))
    if on == "code":  # a normal distribution for each unit, from which training draws
        log_variance = layers.Dense(UNITS, kernel_initializer="zeros", name="log_variance")(flat)
        before = tap("code", before, log_variance)
        noise = layers.GaussianNoise(1.0)(ops.zeros_like(before))
        before = before + ops.exp(0.5 * log_variance) * noise
    h = relu(before)
    for name in ("hidden", "sigmoids"):
        h = tap(name, h)
    others = {
        "views": [shifted],
        "triplets": [shifted, neighbour],
        "domains": [lambda digits: 1.0 - digits],
    }
    if on in others:
        h = tap(on, h, *(relu(dense(layers.Flatten()(conv(other(digits))))) for other in others[on]))
    if on == "teacher":
        h = tap(on, h, teacher(digits)[0])
    if on == "router":  # eight experts of eight units, weighed by the router's softmax
        router = tap("router", layers.Dense(EXPERTS, name="router")(h))
        experts = layers.Reshape((EXPERTS, 8))(
            layers.Dense(EXPERTS * 8, activation="relu", name="experts")(h)
        )
        h = ops.sum(ops.softmax(router)[..., None] * experts, axis=1)
    logits = tap("logits", layers.Dense(10, name="logits")(h))
    model = keras.Model(digits, tap("probabilities", layers.Softmax()(logits)))
    reader = Slopes(keras.Model(digits, logits)) if on == "slope" else keras.Model(digits, read or digits)
    hidden = {}
    if on == "slope" and penalty is not None:
        model = kp.models.HiddenOutputs(model, {on: kp.models.Gradient("logits", wrt="digits")})
        hidden = {"hidden_losses": {on: penalty}}
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"], **hidden)
    return model, reader


class Slopes:
    """The derivative of the sum of the logits with respect to each digit."""

    def __init__(self, logits):
        self.logits = logits

    def predict(self, x, **_):
        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(self.logits(x))
        return tape.gradient(total, x).numpy()


def shifted(digits):
    """Another view of each digit: two pixels down and to the right."""
    return layers.Cropping2D(((0, 2), (0, 2)))(layers.ZeroPadding2D(((2, 0), (2, 0)))(digits))


def neighbour(digits):
    """For each digit, another digit of its batch."""
    return ops.roll(digits, 1, axis=0)


def train(model, train_set):
    model.fit(*train_set, batch_size=100, epochs=EPOCHS, verbose=0)
    return [v.numpy() if hasattr(v, "numpy") else np.asarray(v) for v in model.trainable_variables]


def make_teacher(train_set):
    """The hidden layer and the maps of a frozen plain network with other initial weights."""
    model, _ = build()
    keras.utils.set_random_seed(1)
    model = keras.models.clone_model(model)
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    model.fit(*train_set, batch_size=100, epochs=EPOCHS, verbose=0)
    read = [model.get_layer("logits").input, model.get_layer("maps").output]
    teacher = keras.Model(model.input, read, name="teacher")
    teacher.trainable = False
    return teacher


def run(case, plain, teacher, train_set, held_out):
    """Fill in the case: tensors and accuracy on held-out digits, without the penalty and with it."""

    def seen(model, reader):
        values = reader.predict(held_out[0], batch_size=HELD_OUT, verbose=0)
        p = model.predict(held_out[0], batch_size=HELD_OUT, verbose=0)
        return list(values) if isinstance(values, (list, tuple)) else [values], np.mean(
            p.argmax(axis=1) == held_out[1]
        )

    own = case.on if case.on in OWN_NETWORK else ""
    if own not in plain:
        plain[own] = train(build(own)[0], train_set)
    model, reader = build(case.on, teacher=teacher)
    for variable, value in zip(model.trainable_variables, plain[own], strict=True):
        variable.assign(value)
    case.before, before = seen(model, reader)
    model, reader = build(case.on, case.penalty, teacher)
    train(model, train_set)
    case.after, after = seen(model, reader)
    case.accuracies = before, after
    broken = [v for values in (case.before, case.after) for v in values if not np.isfinite(v).all()]
    if broken:
        raise RuntimeError(f"{case.name} produced activations that are not finite")


def print_table(console, done):
    table = Table(title=f"On {HELD_OUT:,} held-out digits", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("penalty", "on", "measure without", "with it", "accuracy without", "with it"):
        table.add_column(heading, justify="left" if heading in ("penalty", "on") else "right")
    for case in done:
        measures = (f"{m:.4g}" for m in case.measures)
        accuracies = (f"{a:.1%}" for a in case.accuracies)
        table.add_row(label(case.penalty), case.on, *measures, *accuracies)
    console.print(table)


def label(penalty):
    """The penalty as code, without defaults."""
    config = penalty.get_config()
    if isinstance(penalty, R.L1L2):
        return f"L1L2({config['l1']:g}, {config['l2']:g})"
    return f"{type(penalty).__name__}({config['strength']:g})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figures")
    parser.add_argument("--only", nargs="*", help="names of penalties, to run a few")
    arguments = parser.parse_args()
    out, start = arguments.out, time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    all_cases = cases()
    in_figures = {name for _, names in FAMILIES.values() for name in names}
    missing = (exported() ^ {case.name for case in all_cases}) | (exported() ^ in_figures)
    assert not missing, f"not in the gallery, or no longer exported: {sorted(missing)}"
    chosen = [case for case in all_cases if not arguments.only or case.name in arguments.only]
    train_set, held_out = split_digits()
    plain: dict = {}
    teacher = make_teacher(train_set)
    for case in chosen:
        run(case, plain, teacher, train_set, held_out)
    print_table(Console(width=110), chosen)
    draw(chosen, [label(case.penalty) for case in chosen], out)
    worst = min(chosen, key=lambda case: case.accuracies[1] - case.accuracies[0])
    print(
        f"{len(chosen)} penalties, {sum(c.measures[1] < c.measures[0] for c in chosen)} of them measure less "
        f"after training with it; the largest loss of accuracy: {worst.name}, {worst.accuracies[0]:.1%} -> "
        f"{worst.accuracies[1]:.1%}; {time.perf_counter() - start:.0f} s, figures: {out / 'gallery-*.png'}"
    )


if __name__ == "__main__":
    main()
