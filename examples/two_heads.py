"""Two heads, and few labels for one of them: does a contrastive loss with those labels help?

A network learns which digit an image shows and how far it leans. The digit is known for a few rows, the slant
for all. Rows without a label have the class -1. Run it from a clone with

    python examples/two_heads.py --out out
"""

import time

from _common import BLUE, ORANGE, arguments_of, load_digits, of_seeds, pyplot

import keras
import numpy as np

import keras_penalties as kp

LABELLED = (100, 400, 1000)  # of 4,000 rows


def slant(images):
    """How far a digit leans: the columns that its ink shifts to the right per row downwards."""
    ink = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
    rows, columns = np.mgrid[:28, :28]
    rows = rows - (ink * rows).sum(axis=(1, 2), keepdims=True)  # from the centre of the ink
    columns = columns - (ink * columns).sum(axis=(1, 2), keepdims=True)
    return ((ink * rows * columns).sum(axis=(1, 2)) / (ink * rows**2).sum(axis=(1, 2))).astype("float32")


def network():
    inputs = keras.Input((28, 28, 1))
    h = keras.layers.Flatten()(inputs)
    h = keras.layers.Dense(256, activation="relu")(h)
    features = keras.layers.Dense(64, activation="relu", name="features")(h)
    who = keras.layers.Dense(10, activation="softmax", name="who")(features)
    return keras.Model(inputs, {"who": who, "slant": keras.layers.Dense(1, name="slant")(features)})


def train(train_data, test_data, labelled, contrastive, epochs, seed):
    """The accuracy on new digits and the error of the slant."""
    keras.utils.set_random_seed(seed)
    model = kp.models.HiddenOutputs(network(), hidden=["features"])
    # Both losses of the digit are a mean over the rows that have a label.
    loss = kp.losses.SupervisedContrastive(temperature=0.1, reduction="mean_with_sample_weight")
    model.compile(
        "adam",
        {"who": keras.losses.SparseCategoricalCrossentropy(ignore_class=-1), "slant": "mse"},
        metrics={"who": "accuracy", "slant": "mae"},
        hidden_losses={"features": loss} if contrastive else None,
        hidden_loss_weights={"features": 1.0} if contrastive else None,
        hidden_targets={"features": "who"} if contrastive else None,
    )
    x, y = train_data
    known = np.random.default_rng(seed).permutation(len(x)) < labelled
    y = {**y, "who": np.where(known, y["who"], -1)}
    model.fit(x, y, batch_size=500, epochs=epochs, verbose=0)
    return model.evaluate(*test_data, batch_size=500, verbose=0, return_dict=True)


def draw(results, path):
    """Accuracy and error of the slant by the number of labels: a point per seed, a line for the mean."""
    plt = pyplot()
    fig, axes = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    title = "A contrastive loss with the labels of one head, which most rows lack"
    fig.suptitle(title, fontsize=15, fontweight="bold")
    places = np.arange(len(LABELLED))
    for contrastive, colour, label, shift in (
        (True, BLUE, "with the contrastive loss", 0.04),
        (False, ORANGE, "without", -0.04),
    ):
        for axis, key in zip(axes, ("who_accuracy", "slant_mae"), strict=True):
            values = np.array([[r[key] for r in results[n, contrastive]] for n in LABELLED])
            axis.plot(places + shift, values.mean(axis=1), color=colour, lw=2.5, label=label)
            for column in values.T:
                axis.plot(places + shift, column, "o", color=colour, ms=7, alpha=0.6)
    for axis, what in zip(axes, ("Accuracy on new digits", "Mean error of the slant"), strict=True):
        axis.set_xticks(places, [f"{n:,}" for n in LABELLED])
        axis.set(xlabel="rows with a label, of 4,000", title=what)
        axis.grid(axis="y", alpha=0.3)
    axes[1].set_ylim(bottom=0)
    axes[0].legend(loc="lower right")
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main():
    arguments, start = arguments_of(__doc__, epochs=30), time.perf_counter()
    x, who = load_digits()
    y = {"who": who, "slant": slant(x)}
    test, data = (
        (x[rows], {k: v[rows] for k, v in y.items()}) for rows in np.split(np.arange(len(x)), [1000])
    )
    results = {}
    for labelled in LABELLED:
        for contrastive in (False, True):
            results[labelled, contrastive] = runs = [
                train(data, test, labelled, contrastive, arguments.epochs, seed)
                for seed in range(arguments.seeds)
            ]
            print(
                f"{labelled:5,} labels, {'with' if contrastive else 'without'} the contrastive loss: "
                f"{of_seeds([r['who_accuracy'] for r in runs])}, mean error of the slant "
                f"{np.mean([r['slant_mae'] for r in runs]):.3f}"
            )
    draw(results, arguments.out / "two_heads.png")
    print(f"{time.perf_counter() - start:.0f} s, figure: {arguments.out / 'two_heads.png'}")


if __name__ == "__main__":
    main()
