"""Equal answers for two groups: MinDiff on real housing data, the gap between groups against accuracy.

The model predicts whether the houses of a district of Boston are dearer than the median, from 12 numbers
about the district. The 13th, from which the share of Black residents follows, is not an input: it only tells
the two groups apart. The model answers differently for the groups all the same. Run it from a clone with

    python examples/equal_answers.py --out out
"""

import time

from _common import BLUE, ORANGE, arguments_of, tall_figure

import keras
import numpy as np
from mlxtend.data import boston_housing_data

import keras_penalties as kp

WEIGHTS = (0.0, 0.3, 1.0, 3.0, 10.0)
BLACK_RESIDENTS = 11  # the column 1000 (share - 0.63)**2


def load(seed):
    """Inputs, whether houses are dear, and groups, of 330 districts to learn from and of 176 others."""
    x, price = boston_housing_data()
    dear = (price > np.median(price)).astype("float32")
    group = (x[:, BLACK_RESIDENTS] < 380).astype("float32")  # a share of more than 1.4%
    x = np.delete(x, BLACK_RESIDENTS, axis=1)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype("float32")
    order = np.random.default_rng(seed).permutation(len(x))
    return [[array[part] for array in (x, dear, group)] for part in (order[:330], order[330:])]


def train(rows, weight, epochs, seed):
    x, dear, group = rows
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((12,))
    h = keras.layers.Dense(32, activation="relu")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="dear")(h))
    model = kp.models.HiddenOutputs(model, hidden={"same": "dear"})
    model.compile(
        keras.optimizers.Adam(0.003),
        "binary_crossentropy",
        hidden_losses={"same": kp.losses.MinDiff(length=0.1)},
        hidden_targets={"same": "group"},
        hidden_loss_weights={"same": weight},
    )
    model.fit(x, {"dear": dear, "group": group}, batch_size=110, epochs=epochs, verbose=0)
    return model


def measured(model, rows):
    """In percent: the accuracy, the gap between the shares of the groups that are called dear, and the gap
    between their mean probabilities; and the probabilities."""
    x, dear, group = rows
    answers = model.predict(x, verbose=0)[:, 0]
    chosen = answers > 0.5
    shares = [100 * chosen[group == g].mean() for g in (0, 1)]
    means = [100 * answers[group == g].mean() for g in (0, 1)]
    return 100 * np.mean(chosen == dear), shares[0] - shares[1], means[0] - means[1], answers


def draw(found, answers, groups, path):
    """The gap against accuracy by weight, and the answers for both groups without and with the loss."""
    title = "MinDiff: the answers for both groups become alike, and accuracy falls"
    fig, axes = tall_figure(title, 9, 3)
    for weight, of_seeds in found.items():
        accuracy, gap = np.mean(of_seeds, axis=0)[:2]
        axes[0].plot(gap, accuracy, "o", color=BLUE, ms=9)
        beside, end = {0.0: ((8, -8), "left"), 0.3: ((0, 9), "center"), 1.0: ((-9, -4), "right")}.get(
            weight, ((8, -1), "left")
        )
        axes[0].annotate(
            f"weight {weight:g}", (gap, accuracy), xytext=beside, textcoords="offset points", ha=end
        )
    axes[0].set(xlabel='gap between the groups\' shares of "dear" (percentage points)', ylabel="accuracy (%)")
    axes[0].set(title="Other districts, mean of the splits")
    axes[0].margins(x=0.2, y=0.12)
    axes[0].grid(alpha=0.3)
    for axis, weight in zip(axes[1:], (WEIGHTS[0], WEIGHTS[3]), strict=True):
        for group, colour, name in ((0, BLUE, "share below 1.4%"), (1, ORANGE, "share above 1.4%")):
            of_group = answers[weight][groups == group]
            options = {"bins": np.linspace(0, 1, 11), "density": True, "color": colour}
            axis.hist(of_group, **options, histtype="step", lw=2.5, ls="--" if group else "-", label=name)
        axis.set(xlabel='predicted probability of "dear"', ylabel="density")
        axis.set_title(f"Answers with weight {weight:g}, first split")
    fig.legend(
        *axes[1].get_legend_handles_labels(), title="Black residents", loc="outside lower center", ncols=2
    )
    fig.savefig(path, dpi=180)


def main():
    arguments, start = arguments_of(__doc__, epochs=60), time.perf_counter()
    found, answers, groups = {}, {}, None
    for weight in WEIGHTS:
        found[weight] = []
        for seed in reversed(range(arguments.seeds)):
            known, others = load(seed)
            *numbers, answers[weight] = measured(train(known, weight, arguments.epochs, seed), others)
            found[weight].append(numbers)
            groups = others[2]
        accuracy, gap, means = np.transpose(found[weight])
        print(
            f"weight {weight:4g}: accuracy {accuracy.mean():.1f}% "
            f"({accuracy.min():.1f} to {accuracy.max():.1f}), gap {gap.mean():.1f} points "
            f"({gap.min():.1f} to {gap.max():.1f}), between mean probabilities {means.mean():.1f}"
        )
    draw(found, answers, groups, arguments.out / "equal_answers.png")
    print(f"{time.perf_counter() - start:.0f} s, figure: {arguments.out / 'equal_answers.png'}")


if __name__ == "__main__":
    main()
