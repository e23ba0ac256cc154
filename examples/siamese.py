"""Are these two digits the same? A Siamese network with contrastive loss, tested on classes it never saw.

The network learns from pairs of the digits 0 to 6, and is tested on pairs of 7, 8 and 9. It is also trained
with the usual square root as its distance, to show the NaN. Run it from a clone with

    python examples/siamese.py --out out
"""

import argparse
import time
from pathlib import Path

from _common import BLUE, GREY, ORANGE, PINK, load_digits, pyplot, save_and_reload

import keras
import numpy as np
from keras import ops
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

import keras_penalties as kp

SEEN, UNSEEN = range(7), (7, 8, 9)
MARGIN = 1.0


class BareDistance(keras.layers.Layer):
    """The distance as usually written: its gradient is NaN if the two embeddings are equal."""

    def call(self, inputs):
        a, b = inputs
        return ops.sqrt(ops.sum(ops.square(a - b), axis=-1, keepdims=True))


def build(distance="euclidean", strength=1e-4, jit_compile="auto"):
    """A convolutional encoder with a penalty inside, used on both digits of a pair."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(64, 3, activation="relu"),
            kp.layers.ActivityPenalty(kp.regularizers.L2(strength), name="quiet"),
            keras.layers.GlobalMaxPooling2D(),  # which strokes there are, not where: that carries over
            keras.layers.Dense(16, name="embedding"),
        ],
        name="encoder",
    )
    model = kp.models.Siamese(encoder, distance)
    model.compile("adam", kp.losses.Contrastive(margin=MARGIN), jit_compile=jit_compile)
    return model


def make_pairs(x, y, seed):
    """Training pairs. As in random pairs, one in a hundred is a digit with itself."""
    [first, second], similar = kp.models.balanced_pairs(x, y, count=4 * len(x), seed=seed)
    twins = np.flatnonzero(similar)[::50]
    second[twins] = first[twins]
    return [first, second], similar


def threshold_of(distances, similar):
    """The distance that best separates same from different."""
    distances = np.ravel(distances)
    candidates = np.quantile(distances, np.linspace(0, 1, 501))
    right = [np.mean((distances < c) == (similar == 1)) for c in candidates]
    return float(candidates[int(np.argmax(right))])


class Test:
    """How well distances separate same from different, at a threshold chosen elsewhere."""

    def __init__(self, distances, similar, threshold=None):
        self.distances, self.similar = np.ravel(distances), similar
        self.threshold = threshold_of(self.distances, similar) if threshold is None else threshold
        self.accuracy = float(np.mean((self.distances < self.threshold) == (similar == 1)))
        self.auc = float(roc_auc_score(similar, -self.distances))


def first_nan(pairs, similar, distance, jit_compile="auto"):
    """Train on 100 batches, and say from which batch on the loss is NaN."""
    losses = []
    model = build(distance, jit_compile=jit_compile)
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: losses.append(logs["loss"]))
    pairs, similar = [side[:6400] for side in pairs], similar[:6400]
    model.fit(pairs, similar, batch_size=64, shuffle=False, verbose=0, callbacks=[watch])
    return next((f"NaN from batch {i + 1} on" for i, loss in enumerate(losses) if np.isnan(loss)), "finite")


def print_nans(pairs, similar):
    """When a distance of 0 breaks training: with the usual square root, and with this package."""
    twins = np.flatnonzero(np.all(pairs[0] == pairs[1], axis=(1, 2, 3)))
    wrong = similar.copy()
    wrong[twins[10]] = 0
    table = Table(title="Training with pairs of a digit and itself", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "sqrt(sum(square(a - b)))", "kp.layers.EuclideanDistance"):
        table.add_column(heading, no_wrap=True)
    for name, labels, jit in (
        ("without changes", similar, "auto"),
        ("one of them labelled as different", wrong, "auto"),
        ("jit_compile=True", similar, True),
    ):
        table.add_row(name, *(first_nan(pairs, labels, d, jit) for d in (BareDistance(), "euclidean")))
    Console(width=100).print(table)


def pixel_distance(pairs):
    """A baseline without learning: the distance of the two images themselves."""
    return np.sqrt(np.sum(np.square(pairs[0] - pairs[1]), axis=(1, 2, 3)))


def print_table(tests):
    """One row per test."""
    table = Table(title="Same digit or not?", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("pairs of", no_wrap=True)
    for heading in ("pairs", "threshold", "accuracy", "AUC"):
        table.add_column(heading, justify="right")
    for name, t in tests.items():
        table.add_row(name, f"{len(t.similar):,}", f"{t.threshold:.2f}", f"{t.accuracy:.1%}", f"{t.auc:.3f}")
    Console(width=100).print(table)


def draw(pairs, test, embedding, labels, auc_of_pixels, path):
    """Pairs with their distances, the distances of same and different pairs, and the embedding."""
    plt = pyplot()
    fig = plt.figure(figsize=(12, 7), layout="constrained")
    top, bottom = fig.subfigures(2, 1, height_ratios=(1, 3))
    fig.suptitle(
        f"Trained on 0 to 6, it compares 7, 8 and 9, which it never saw: AUC {test.auc:.2f} "
        f"(pixels alone: {auc_of_pixels:.2f})",
        fontsize=15,
        fontweight="bold",
    )
    draw_pairs(top.subplots(1, 8), pairs, test)
    left, right = bottom.subplots(1, 2, width_ratios=(1.2, 1))
    draw_distances(left, test)
    draw_embedding(right, embedding, labels)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def draw_pairs(axes, pairs, test):
    """The first four pairs of one digit and the first four of two, with their distances."""
    same, different = np.flatnonzero(test.similar == 1)[:4], np.flatnonzero(test.similar == 0)[:4]
    for axis, i in zip(axes, [*same, *different], strict=True):
        gap = np.ones((28, 2))
        axis.imshow(
            np.hstack([1 - pairs[0][i, ..., 0], gap, 1 - pairs[1][i, ..., 0]]), cmap="gray", vmin=0, vmax=1
        )
        colour, word = (BLUE, "same") if test.similar[i] else (ORANGE, "different")
        axis.set_title(f"{word}: {test.distances[i]:.2f}", color=colour, fontsize=14, loc="center")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color=colour, linewidth=2)


def draw_distances(axis, test):
    """Histograms of the distances of same and of different pairs, and the threshold."""
    bins = np.linspace(0, test.distances.max(), 40)
    for similar, colour, word in ((1, BLUE, "same digit"), (0, ORANGE, "different digits")):
        values = test.distances[test.similar == similar]
        axis.hist(values, bins, color=colour, alpha=0.25)
        axis.hist(values, bins, color=colour, histtype="step", lw=2.5, label=word)
    axis.axvline(test.threshold, color=GREY, ls="--", lw=2, label=f"threshold {test.threshold:.2f}")
    axis.set(xlabel="distance of the two embeddings", ylabel="pairs")
    axis.set_title("Pairs of one digit lie closer")
    axis.legend(fontsize=13)


def draw_embedding(axis, embedding, labels):
    """The two directions in which the embeddings differ most."""
    centred = embedding - embedding.mean(axis=0)
    plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    for digit, colour, marker in zip(UNSEEN, (BLUE, ORANGE, PINK), "osD", strict=True):
        points = plane[labels == digit]
        axis.scatter(*points.T, s=16, color=colour, marker=marker, alpha=0.55, linewidths=0)
        label = {"ha": "center", "va": "center", "color": colour, "fontsize": 22, "fontweight": "bold"}
        box = {"facecolor": "white", "edgecolor": colour, "boxstyle": "circle,pad=0.25"}
        axis.text(*np.median(points, axis=0), str(digit), **label, bbox=box)
    axis.set(xlabel="first principal direction", ylabel="second principal direction")
    axis.set_title("Embedding of digits that it never saw")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the models and the figure")
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    out, start = arguments.out, time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    x, y = load_digits()
    seen = np.isin(y, SEEN)
    (x, y), (new_x, new_y) = (x[seen], y[seen]), (x[~seen], y[~seen])
    train, similar = make_pairs(x[500:], y[500:], seed=0)
    known, known_similar = kp.models.balanced_pairs(x[:500], y[:500], seed=1)
    other, other_similar = kp.models.balanced_pairs(new_x[:300], new_y[:300], seed=2)
    unseen, unseen_similar = kp.models.balanced_pairs(new_x[300:], new_y[300:], seed=3)

    print_nans(train, similar)
    model = build()
    model.fit(train, similar, batch_size=64, epochs=arguments.epochs, verbose=2)
    save_and_reload(model, known, known_similar, out, "siamese")

    known_test = Test(model.predict(known, verbose=0), known_similar)
    distances = model.predict(unseen, verbose=0)
    strict = Test(distances, unseen_similar, known_test.threshold)
    test = Test(distances, unseen_similar, threshold_of(model.predict(other, verbose=0), other_similar))
    pixels = threshold_of(pixel_distance(other), other_similar)
    pixels = Test(pixel_distance(unseen), unseen_similar, pixels)
    print_table(
        {
            "0 to 6, new images": known_test,
            "7, 8, 9, threshold of 0 to 6": strict,
            "7, 8, 9, threshold from other 7, 8, 9": test,
            "7, 8, 9, by pixels, the same way": pixels,
        }
    )
    draw(unseen, test, model.embed(new_x[300:]), new_y[300:], pixels.auc, out / "siamese.png")
    print(
        f"unseen classes: accuracy {test.accuracy:.1%}, AUC {test.auc:.3f} (pixels {pixels.auc:.3f}); seen "
        f"classes: accuracy {known_test.accuracy:.1%}, AUC {known_test.auc:.3f}; "
        f"{time.perf_counter() - start:.0f} s, figure: {out / 'siamese.png'}"
    )


if __name__ == "__main__":
    main()
