"""Features of digits without labels: SimCLR by `fit(x)`, tested with a linear classifier on a few labels.

Keras' augmentation layers draw two views of each digit inside the model, and `InfoNCE` compares them.
Run it from a clone with

    python examples/simclr.py --out out
"""

import time

from _common import BLUE, GREY, ORANGE, PINK, arguments_of, load_digits, of_seeds, tall_figure

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression

import keras_penalties as kp

LABELLED = (50, 200, 1000)
WAYS = {  # each of the first three ends in a linear classifier
    "SimCLR": "features of SimCLR",
    "pixels": "pixels",
    "untrained encoder": "features before training",
    "supervised": "the encoder, trained on these labels",
}


def encoder():
    layers = [
        keras.Input((28, 28, 1)),
        keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(64, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(128, activation="relu"),
    ]
    return keras.Sequential(layers, name="encoder")


def simclr(encode):
    """A model that needs no labels: the comparison of two views is its only loss."""
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
    return keras.Model(
        inputs, kp.layers.ActivityPenalty(kp.regularizers.InfoNCE(1.0, 0.2), name="simclr")(views)
    )


def probe(features, data, test, count):
    """The accuracy of a linear classifier on features, which learns from the first `count` rows."""
    (x, y), (new_x, new_y) = data, test
    a, b = (keras.ops.convert_to_numpy(features(rows)) for rows in (x[:count], new_x))
    middle, scale = a.mean(axis=0), a.std(axis=0) + 1e-6
    classify = LogisticRegression(max_iter=500).fit((a - middle) / scale, y[:count])
    return float(classify.score((b - middle) / scale, new_y))


def supervised(data, test, count):
    """The accuracy of the same encoder, with a classifier, trained on the first `count` rows alone."""
    model = keras.Sequential([encoder(), keras.layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = (a[:count] for a in data)
    model.fit(x, y, batch_size=50, epochs=10_000 // count, verbose=0)  # 200 steps
    return model.evaluate(*test, batch_size=500, verbose=0, return_dict=True)["accuracy"]


def draw(accuracies, path):
    """A line for each way, over the number of labels, and a point per seed."""
    fig, axis = tall_figure("With few labels, features learned without labels work best", 5.4)
    places = np.arange(len(LABELLED))
    for (way, runs), colour in zip(accuracies.items(), (BLUE, ORANGE, PINK, GREY), strict=True):
        axis.plot(places, np.mean(runs, axis=0), color=colour, lw=3, label=WAYS[way])
        for run in runs:
            axis.plot(places, run, "o", color=colour, ms=6, alpha=0.6)
    axis.set_xticks(places, [f"{n:,}" for n in LABELLED])
    axis.set(xlabel="rows with a label", ylabel="accuracy on 1,000 new digits")
    axis.grid(axis="y", alpha=0.3)
    fig.legend(
        loc="outside lower left", title="lines: means of the seeds, which are the dots", alignment="left"
    )
    fig.savefig(path, dpi=180)


def main():
    arguments, start = arguments_of(__doc__, epochs=10), time.perf_counter()
    x, y = load_digits()
    test = x[:1000], y[:1000]
    accuracies = {way: [] for way in WAYS}
    for seed in range(arguments.seeds):
        keras.utils.set_random_seed(seed)
        order = 1000 + np.random.default_rng(seed).permutation(len(x) - 1000)  # other rows for each seed
        data = x[order], y[order]
        encode = encoder()
        accuracies["untrained encoder"].append([probe(encode, data, test, n) for n in LABELLED])
        model = simclr(encode)
        model.compile("adam")
        model.fit(data[0], batch_size=250, epochs=arguments.epochs, verbose=0)  # no labels
        accuracies["SimCLR"].append([probe(encode, data, test, n) for n in LABELLED])
        accuracies["pixels"].append([probe(keras.layers.Flatten(), data, test, n) for n in LABELLED])
        accuracies["supervised"].append([supervised(data, test, n) for n in LABELLED])
    for way, runs in accuracies.items():
        numbers = (f"{n:,} labels {of_seeds([r[i] for r in runs])}" for i, n in enumerate(LABELLED))
        print(f"{way}: {'; '.join(numbers)}")
    draw(accuracies, arguments.out / "simclr.png")
    print(f"{time.perf_counter() - start:.0f} s, figure: {arguments.out / 'simclr.png'}")


if __name__ == "__main__":
    main()
