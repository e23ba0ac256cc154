"""From MNIST to the digits of scikit-learn without their labels: domain adaptation by CORAL, MMD and DANN.

Both sets are rows of one array. A column says which set a row belongs to. The rows of the second set have
sample weight 0, since their labels are unknown. Run it from a clone with

    python examples/domain_adaptation.py --out out
"""

import time

from _common import BLUE, ORANGE, arguments_of, load_digits, load_small_digits, of_seeds, pyplot

import keras
import numpy as np
from keras import ops

import keras_penalties as kp


def aligned(penalty):
    """Penalizes the features of one domain and those of the other: the masks tell them apart."""

    def of(h, domain):
        align = kp.layers.ActivityPenalty(penalty, training_only=True, name="align")
        h, _ = align([h, h], mask=[ops.equal(domain, 0), ops.equal(domain, 1)])
        return h, {}

    return of


def adversarial(h, domain):
    """A second head predicts the domain, and its gradient is reversed (Ganin et al., 2016)."""
    reversed_h = kp.layers.GradientReversal(0.1)(h)
    hidden = keras.layers.Dense(64, activation="relu")(reversed_h)
    return h, {"domain": keras.layers.Dense(1, activation="sigmoid", name="domain")(hidden)}


METHODS = {
    "source only": lambda h, domain: (h, {}),
    "CORAL": aligned(kp.regularizers.CORAL(10.0)),
    "MMD": aligned(kp.regularizers.MMD(3.0, "imq", bandwidth=8.0)),
    "DANN": adversarial,
}


def network(method):
    """A row is an image of 784 pixels, followed by its domain: 0 for MNIST, 1 for the other set."""
    inputs = keras.Input((785,))
    pixels, domain = inputs[:, :784], inputs[:, 784]
    h = keras.layers.Reshape((28, 28, 1))(pixels)
    h = keras.layers.Conv2D(16, 5, strides=2, activation="relu")(h)
    h = keras.layers.Conv2D(32, 3, strides=2, activation="relu")(h)
    h = keras.layers.Dense(64, activation="relu", name="features")(keras.layers.Flatten()(h))
    h, heads = method(h, domain)
    digit = keras.layers.Dense(10, activation="softmax", name="digit")(h)
    return keras.Model(inputs, {"digit": digit, **heads})


def with_domain(images, domain):
    return np.hstack([images.reshape(-1, 784), np.full((len(images), 1), domain)]).astype("float32")


def train(source, target, method, epochs, seed):
    keras.utils.set_random_seed(seed)
    (x, y), new_x = source, target
    model = network(method)
    labelled_mean = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
    domains = np.concatenate([np.zeros(len(x)), np.ones(len(new_x))]).astype("float32")
    rows = np.concatenate([with_domain(x, 0), with_domain(new_x, 1)])
    digits = np.concatenate([y, np.zeros(len(new_x), "int32")])  # any label: these rows have no weight
    # Of the domains, both weigh the same in sum.
    of_domains = np.where(domains > 0, len(x) / len(new_x), 1.0).astype("float32")
    losses = {"digit": labelled_mean, "domain": "binary_crossentropy"}
    labels, weights = {"digit": digits, "domain": domains}, {"digit": 1.0 - domains, "domain": of_domains}
    losses, labels, weights = ({name: of[name] for name in model.output} for of in (losses, labels, weights))
    model.compile("adam", losses)
    model.fit(rows, labels, sample_weight=weights, batch_size=256, epochs=epochs, verbose=0)
    return keras.Model(model.input, model.output["digit"])


def accuracy(model, rows, labels):
    return np.mean(model.predict(rows, verbose=0).argmax(axis=1) == labels)


def draw(accuracies, models, images, path):
    """The accuracy on the new set, by seed, and the features of both sets without and with a penalty."""
    plt = pyplot()
    fig, axes = plt.subplots(1, 3, figsize=(12, 4.6), layout="constrained")
    title = "Digits of another set, without their labels: similar features help in part"
    fig.suptitle(title, fontsize=15, fontweight="bold")
    for place, values in enumerate(accuracies.values()):
        for of, colour in (("MNIST", BLUE), ("scikit-learn", ORANGE)):
            axes[0].plot([place - 0.25, place + 0.25], [np.mean(values[of])] * 2, color=colour, lw=3)
            axes[0].plot(
                [place] * len(values[of]), values[of], "o", color=colour, label=None if place else of
            )
    axes[0].set_xticks(range(len(accuracies)), [name.replace(" ", "\n") for name in accuracies])
    axes[0].set(ylim=(0.4, 1.0), title="Accuracy on new digits")
    axes[0].set_xlabel("dots: seeds; lines: their means")
    fig.legend(*axes[0].get_legend_handles_labels(), title="digits of", loc="outside lower center", ncols=2)
    axes[0].grid(axis="y", alpha=0.3)
    for axis, name in zip(axes[1:], ("source only", "MMD"), strict=True):
        model = models[name]
        encoder = keras.Model(model.input, model.get_layer("features").output)
        of_mnist, of_other = (encoder.predict(rows[:400], verbose=0) for rows in images)
        both = np.concatenate([of_mnist, of_other])
        middle = both.mean(axis=0)
        plane = np.linalg.svd(both - middle, full_matrices=False)[2][:2].T
        for points, colour in ((of_mnist, BLUE), (of_other, ORANGE)):
            axis.scatter(*((points - middle) @ plane).T, s=14, color=colour, alpha=0.6, linewidths=0)
        axis.set(
            xlabel="first principal direction",
            ylabel="second principal direction",
            title=f"Features, first seed: {name}",
        )
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main():
    arguments, start = arguments_of(__doc__, epochs=8), time.perf_counter()
    (x, y), (new_x, new_y) = load_digits(), load_small_digits()
    source, target = (x[1000:4000], y[1000:4000]), new_x[500:]
    images = with_domain(x[:1000], 0), with_domain(new_x[:500], 1)
    accuracies, models = {}, {}
    for name, method in METHODS.items():
        accuracies[name] = {"MNIST": [], "scikit-learn": []}
        for seed in reversed(range(arguments.seeds)):
            models[name] = train(source, target, method, arguments.epochs, seed)
            for of, rows, labels in zip(accuracies[name], images, (y[:1000], new_y[:500]), strict=True):
                accuracies[name][of].append(accuracy(models[name], rows, labels))
        print(f"{name:12}" + "; ".join(f"{of} {of_seeds(v)}" for of, v in accuracies[name].items()))
    for title, images_of in (("Where it does not help, inverted digits", 1 - x), ("Inverted back", x)):
        print(f"{title}, with a mean pixel of {images_of.mean():.2f}:")
        unseen = with_domain(images_of[:1000], 1)
        for name, method in METHODS.items():
            of_seed = [
                accuracy(train(source, images_of[4000:], method, arguments.epochs, seed), unseen, y[:1000])
                for seed in range(arguments.seeds)
            ]
            print(f"{name:12}{of_seeds(of_seed)}")
    draw(accuracies, models, images, arguments.out / "domain_adaptation.png")
    print(f"{time.perf_counter() - start:.0f} s, figure: {arguments.out / 'domain_adaptation.png'}")


if __name__ == "__main__":
    main()
