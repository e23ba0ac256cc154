"""A contractive autoencoder: its code changes little when the image does. Does that help?

Two autoencoders learn 4,000 digits with a code of sigmoid units: one without a penalty, one with a penalty on
the derivative of the code with respect to the image. A linear layer then learns the digits from a few
labelled codes, and is tested on new digits with noise. Run it from a clone with

    python examples/contractive.py --out out
"""

import time

from _common import BLUE, ORANGE, arguments_of, draw_seeds, load_digits, of_seeds, pyplot

import keras
import numpy as np

import keras_penalties as kp

UNITS, STRENGTH, LABELLED = 64, 0.03, 500
NOISE = np.linspace(0.0, 1.0, 6)  # the deviation of Gaussian noise, where pixels are between 0 and 1


def network():
    image = keras.Input((784,), name="image")
    code = keras.layers.Dense(UNITS, activation="sigmoid", name="code")(image)
    return keras.Model(image, keras.layers.Dense(784, activation="sigmoid", name="again")(code))


def penalized(plain, projections, strength, seed=0):
    slope = kp.models.Gradient("code", wrt="image", projections=projections, seed=seed)
    model = kp.models.HiddenOutputs(plain, hidden={"slope": slope})
    squares = {"slope": kp.regularizers.L2(strength)}
    model.compile(keras.optimizers.Adam(0.002), "binary_crossentropy", hidden_losses=squares)
    return model


def train(x, strength, epochs, seed):
    """The autoencoder, a plain Keras model. Two random directions stand for all 64 of the code."""
    keras.utils.set_random_seed(seed)
    plain = network()
    model = penalized(plain, 2, strength, seed) if strength else plain
    if not strength:
        model.compile(keras.optimizers.Adam(0.002), "binary_crossentropy")
    model.fit(x, x, batch_size=100, epochs=epochs, verbose=0)
    return plain


def by_formula(plain, x):
    """The squared norm of the Jacobian of a sigmoid layer, by Rifai et al. 2011."""
    kernel, bias = plain.get_layer("code").get_weights()
    h = 1 / (1 + np.exp(-(x @ kernel + bias)))
    return float(np.mean(np.square(h * (1 - h)) @ np.square(kernel).sum(axis=0)))


def by_gradient(plain, x):
    """The same, from the derivative of each unit, for any layers in between."""
    model = penalized(plain, "exact", 1.0)
    return model.evaluate(x, x, batch_size=500, verbose=0, return_dict=True)["slope_loss"]


def probe(plain, data, new, seed):
    """Accuracies of a linear layer on the code of digits, with increasing noise."""
    encoder = keras.Model(plain.input, plain.get_layer("code").output)
    code = encoder.predict(data[0], verbose=0)
    mean, deviation = code.mean(axis=0), code.std(axis=0) + 1e-6
    keras.utils.set_random_seed(seed)
    linear = keras.Sequential([keras.Input((UNITS,)), keras.layers.Dense(10, activation="softmax")])
    linear.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    linear.fit((code - mean) / deviation, data[1], batch_size=100, epochs=100, verbose=0)
    noise = np.random.default_rng(0).normal(size=new[0].shape).astype("float32")
    codes = [encoder.predict(new[0] + np.float32(s) * noise, batch_size=500, verbose=0) for s in NOISE]
    return [linear.evaluate((c - mean) / deviation, new[1], batch_size=500, verbose=0)[1] for c in codes]


def draw(results, digits, path):
    """Accuracy against noise, and noisy digits as the two autoencoders reconstruct them."""
    plt = pyplot()
    fig = plt.figure(figsize=(12, 5.2), layout="constrained")
    title = "A contractive autoencoder: its code stays useful under noise"
    fig.suptitle(title, fontsize=15, fontweight="bold")
    left, right = fig.subfigures(1, 2, width_ratios=(1.15, 1))
    axis = left.subplots()
    for penalized, colour, label in ((True, BLUE, "with the penalty"), (False, ORANGE, "without")):
        runs = [[100 * a for a in run] for run in results[penalized]]
        draw_seeds(axis, NOISE, runs, colour, label)
    axis.set(
        title=f"A linear layer on the code, from {LABELLED} labels",
        xlabel="standard deviation of the noise (pixels from 0 to 1)",
        ylabel="accuracy on new digits (%)",
        ylim=(0, 100),
    )
    axis.grid(axis="y", alpha=0.3)
    axis.legend(loc="lower left", title="thin lines: seeds", alignment="left")
    axes = right.subplots(len(digits), 1)
    for axis, (label, images) in zip(axes, digits.items(), strict=True):
        axis.imshow(np.hstack(images.reshape(-1, 28, 28)), cmap="Greys", vmin=0, vmax=1)
        axis.set_title(label, fontsize=11)
        axis.set_axis_off()
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main():
    arguments, start = arguments_of(__doc__, epochs=40), time.perf_counter()
    x, y = load_digits()
    x = x.reshape(-1, 784)
    new, labelled = (x[:1000], y[:1000]), (x[1000 : 1000 + LABELLED], y[1000 : 1000 + LABELLED])
    noise = np.random.default_rng(1).normal(size=(7, 784)).astype("float32")
    seen = np.clip(x[:7] + np.float32(0.6) * noise, 0, 1)
    results, digits = {False: [], True: []}, {"new digits": x[:7], "with noise of 0.6": seen}
    for penalized in (False, True):
        for seed in range(arguments.seeds):
            plain = train(x[1000:], STRENGTH if penalized else 0.0, arguments.epochs, seed)
            results[penalized].append(probe(plain, labelled, new, seed))
        with_or_without = "with the penalty" if penalized else "without"
        digits[f"{with_or_without}, reconstructed"] = plain.predict(seen, verbose=0)
        accuracies = [of_seeds([run[place] for run in results[penalized]]) for place in (0, 2, 4)]
        print(
            f"{with_or_without}: squared norm by the formula {by_formula(plain, new[0]):.4f}, "
            f"by Gradient {by_gradient(plain, new[0]):.4f}; accuracy "
            + ", ".join(
                f"with noise of {NOISE[i]:.1f} {a}" for i, a in zip((0, 2, 4), accuracies, strict=True)
            )
        )
    draw(results, digits, arguments.out / "contractive.png")
    print(f"{time.perf_counter() - start:.0f} s, figure: {arguments.out / 'contractive.png'}")


if __name__ == "__main__":
    main()
