"""What keeps an encoder that learns from two views of digits, without labels, from collapsing?

It compares the distance between the views alone, the same with `SIGReg` or `KoLeo`, and `VICReg`. A linear
classifier tests the features. Run it from a clone with

    python examples/without_collapse.py --out out
"""

import time

from _common import BLUE, ORANGE, arguments_of, load_digits, of_seeds, pyplot

import keras
import numpy as np
from simclr import encoder, probe

import keras_penalties as kp

R, LABELLED = kp.regularizers, 300
WAYS = ("untrained", "views alone", "VICReg", "SIGReg", "KoLeo")


def learner(encode, way):
    """A model whose only losses are the penalties on two views."""
    augment = keras.Sequential(
        [
            keras.layers.RandomTranslation(0.12, 0.12, fill_mode="constant"),
            keras.layers.RandomRotation(0.06, fill_mode="constant"),
            keras.layers.RandomZoom(0.2, 0.2, fill_mode="constant"),
        ]
    )
    head = keras.Sequential([keras.layers.Dense(64, activation="relu"), keras.layers.Dense(32)])
    inputs = keras.Input((28, 28, 1))
    views = [head(encode(augment(inputs))) for _ in range(2)]
    if way == "VICReg":
        return keras.Model(inputs, kp.layers.ActivityPenalty(R.VICReg(1.0), name="views")(views))
    match = R.Match(1.0, "cosine_similarity") if way == "KoLeo" else R.Match(0.95, "mean_squared_error")
    views = kp.layers.ActivityPenalty(match, name="views")(views)
    spread = {"SIGReg": R.SIGReg(0.05), "KoLeo": R.KoLeo(0.1)}.get(way)
    if spread is not None:
        each = kp.layers.ActivityPenalty(spread, name="spread")
        views = [each(view) for view in views]
    return keras.Model(inputs, views)


def draw(accuracies, path):
    plt = pyplot()
    fig, axis = plt.subplots(figsize=(9, 5.4), layout="constrained")
    title = f"Features learned from two views: a linear classifier with {LABELLED} labels"
    fig.suptitle(title, fontsize=15, fontweight="bold")
    for place, values in enumerate(accuracies.values()):
        colour = ORANGE if place < 2 else BLUE
        axis.plot([place - 0.25, place + 0.25], [np.mean(values)] * 2, color=colour, lw=4)
        axis.plot([place] * len(values), values, "o", color=colour, ms=8, alpha=0.6)
    axis.set_xticks(range(len(accuracies)), accuracies)
    axis.set(ylabel="accuracy on 1,000 new digits")
    axis.grid(axis="y", alpha=0.3)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main():
    arguments, start = arguments_of(__doc__, epochs=6), time.perf_counter()
    x, y = load_digits()
    test, accuracies = (x[:1000], y[:1000]), {way: [] for way in WAYS}
    for seed in range(arguments.seeds):
        order = 1000 + np.random.default_rng(seed).permutation(len(x) - 1000)  # other rows for each seed
        data = x[order], y[order]
        for way in WAYS:
            keras.utils.set_random_seed(seed)
            encode = encoder()
            if way != "untrained":
                model = learner(encode, way)
                model.compile("adam")
                model.fit(data[0], batch_size=250, epochs=arguments.epochs, verbose=0)  # no labels
            accuracies[way].append(probe(encode, data, test, LABELLED))
    for way, values in accuracies.items():
        print(f"{way}: {of_seeds(values)}")
    draw(accuracies, arguments.out / "without_collapse.png")
    print(f"{time.perf_counter() - start:.0f} s, figure: {arguments.out / 'without_collapse.png'}")


if __name__ == "__main__":
    main()
