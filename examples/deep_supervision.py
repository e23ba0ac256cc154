"""Do classifiers inside a deep network help it to learn? Deep supervision that fades out.

A network of 16 dense layers learns 4,000 MNIST digits, without and with a classifier after every fourth
layer, whose loss fades out. Run it from a clone with

    python examples/deep_supervision.py --out out
"""

import time

from _common import BLUE, GREY, ORANGE, arguments_of, draw_seeds, load_digits, of_seeds, pyplot

import keras
import numpy as np

import keras_penalties as kp

PLACES = (4, 8, 12)  # the layers after which there is a classifier
BATCH = 64


class SideClassifier(keras.layers.Layer):
    """Returns its input, and class probabilities from one dense layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.classify = keras.layers.Dense(10, activation="softmax")

    def call(self, h):
        return h, self.classify(h)


def network(depth, places=()):
    inputs = keras.Input((28, 28, 1))
    h = keras.layers.Flatten()(inputs)
    for i in range(1, depth + 1):
        h = keras.layers.Dense(64, "relu", kernel_initializer="he_normal")(h)
        if i in places:
            h, _ = SideClassifier(name=f"side_{i}")(h)
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(h))


def train(train_data, test_data, depth, supervised, epochs, seed):
    """The history of training with or without the losses of the classifiers inside."""
    keras.utils.set_random_seed(seed)
    places = [i for i in PLACES if i < depth] if supervised else []
    hidden = {f"after_{i}": f"side_{i}:1" for i in places}  # the second output of each SideClassifier
    model = kp.models.HiddenOutputs(network(depth, places), hidden)
    half = epochs * (len(train_data[0]) // BATCH) // 2
    fading = keras.optimizers.schedules.PolynomialDecay(0.5, decay_steps=half, end_learning_rate=0.0)
    cross_entropy = "sparse_categorical_crossentropy"
    model.compile(
        keras.optimizers.SGD(0.02, momentum=0.9),
        cross_entropy,
        metrics=["accuracy"],
        hidden_losses=dict.fromkeys(hidden, cross_entropy),
        hidden_loss_weights=dict.fromkeys(hidden, fading),
        hidden_metrics=dict.fromkeys(hidden, "accuracy"),
    )
    return model.fit(*train_data, BATCH, epochs, validation_data=test_data, verbose=0).history


def epochs_until(accuracies, wanted=0.85):
    """The number of epochs until the accuracy is reached; if never, one more than there are."""
    return next((i for i, a in enumerate(accuracies, 1) if a >= wanted), len(accuracies) + 1)


def draw(runs, path):
    """The accuracy of a deep and of a shallow network, and the effect of the classifiers inside."""
    plt = pyplot()
    fig, axes = plt.subplots(1, 3, figsize=(12, 4.8), layout="constrained")
    fig.suptitle(
        "Classifiers inside help a deep network; a shallow one gains nothing", fontsize=15, fontweight="bold"
    )
    for axis, depth in zip(axes, (16, 6), strict=False):
        for (d, supervised), histories in runs.items():
            if d == depth:
                epochs = range(1, len(histories[0]["loss"]) + 1)
                colour, label = (BLUE, "with classifiers inside") if supervised else (ORANGE, "without")
                draw_seeds(axis, epochs, [h["val_accuracy"] for h in histories], colour, label)
        axis.set(xlabel="epoch", ylim=(0.3, 1.0), title=f"{depth} layers", ylabel="accuracy on new digits")
        axis.legend(loc="lower right", title="thin lines: seeds", alignment="left")
    history = runs[16, True][0]
    for place, style in zip(PLACES, ("-", "--", ":"), strict=True):
        values = history[f"val_after_{place}_accuracy"]
        axes[2].plot(epochs, values, style, color=BLUE, lw=2.5, label=f"after layer {place}")
    axes[2].set(xlabel="epoch", ylim=(0, 1.0), ylabel="accuracy on new digits")
    axes[2].set_title("Inside 16 layers, first seed")
    axes[2].legend(loc="center right", bbox_to_anchor=(1, 0.6), labelcolor=BLUE)
    weight = axes[2].twinx()
    weight.plot(epochs, history["after_4_loss_weight"], color=GREY, lw=2.5)
    weight.set_ylabel("weight of their losses (grey)", color=GREY)
    weight.set_ylim(0, 1.0)
    weight.spines["right"].set_visible(True)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main():
    arguments, start = arguments_of(__doc__, epochs=10), time.perf_counter()
    x, y = load_digits()
    data = (x[1000:], y[1000:]), (x[:1000], y[:1000])
    runs = {
        (depth, supervised): [
            train(*data, depth, supervised, arguments.epochs, seed) for seed in range(arguments.seeds)
        ]
        for depth in (16, 6)
        for supervised in (False, True)
    }
    for (depth, supervised), histories in runs.items():
        accuracies = [h["val_accuracy"] for h in histories]
        print(
            f"{depth:2} layers, {'with' if supervised else 'without'} classifiers inside: 85% after "
            f"{np.mean([epochs_until(a) for a in accuracies]):.1f} epochs, at the end "
            f"{of_seeds([a[-1] for a in accuracies])}"
        )
    draw(runs, arguments.out / "deep_supervision.png")
    print(f"{time.perf_counter() - start:.0f} s, figure: {arguments.out / 'deep_supervision.png'}")


if __name__ == "__main__":
    main()
