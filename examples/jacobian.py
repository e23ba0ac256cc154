"""Robust digits: does a penalty on the Jacobian of the logits help against noise and attacks?

A convolutional network learns 4,000 digits, without a penalty and with a penalty on the derivative of its
logits with respect to the image, along one random direction per step. Run it from a clone with

    python examples/jacobian.py --out out
"""

import time

from _common import BLUE, GREY, ORANGE, arguments_of, draw_seeds, load_digits, of_seeds, tall_figure

import keras
import numpy as np
import tensorflow as tf

import keras_penalties as kp

STRENGTH = 0.003
NOISE = np.linspace(0.0, 0.8, 9)  # the deviation of Gaussian noise, where pixels are between 0 and 1
STEPS = np.linspace(0.0, 0.24, 9)  # of FGSM, in the same units
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network():
    image = keras.Input((28, 28, 1), name="image")
    h = keras.layers.Conv2D(16, 5, strides=2, activation="relu")(image)
    h = keras.layers.Conv2D(32, 3, strides=2, activation="relu")(h)
    h = keras.layers.Dropout(0.5)(keras.layers.Flatten()(h))
    h = keras.layers.Dropout(0.5)(keras.layers.Dense(128, activation="relu")(h))
    return keras.Model(image, keras.layers.Dense(10, name="logits")(h))


def train(data, strength, epochs, seed):
    """The network, a plain Keras model: the penalty is needed only for training."""
    keras.utils.set_random_seed(seed)
    plain = network()
    slope = kp.models.Gradient("logits", wrt="image", projections=1, seed=seed)
    model = kp.models.HiddenOutputs(plain, hidden={"jacobian": slope})
    penalty = {"jacobian": kp.regularizers.L2(strength)} if strength else None
    model.compile(keras.optimizers.Adam(0.002), CROSS_ENTROPY, hidden_losses=penalty)
    model.fit(*data, batch_size=100, epochs=epochs, verbose=0)
    return plain


def squared_norm(plain, x):
    """The squared norm of the whole Jacobian, averaged over the digits."""
    whole = kp.models.Gradient("logits", wrt="image", projections="exact")
    model = kp.models.HiddenOutputs(plain, hidden={"jacobian": whole})
    model.compile(hidden_losses={"jacobian": kp.regularizers.L2(1.0)})
    return model.evaluate(x, batch_size=500, verbose=0, return_dict=True)["jacobian_loss"]


def signs(plain, x, y):
    """For each pixel, the sign of the gradient of the cross-entropy: the direction of FGSM."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = CROSS_ENTROPY(y, plain(x))
    return np.sign(tape.gradient(loss, x))


def accuracy(plain, x, y):
    logits = plain.predict(x, batch_size=500, verbose=0)
    return float(np.mean(logits.argmax(axis=1) == y))


def robustness(plain, x, y):
    """Accuracies by the size of the noise, and by the step size of the attack."""
    noise = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    attack = signs(plain, x, y)
    return (
        [accuracy(plain, x + np.float32(size) * noise, y) for size in NOISE],
        [accuracy(plain, np.clip(x + np.float32(step) * attack, 0, 1), y) for step in STEPS],
    )


def draw(results, norms, path):
    """Accuracy against noise, and against the size of an attack."""
    title = "A penalty on the Jacobian of a classifier: more accurate under attack, the same under noise"
    fig, axes = tall_figure(title, 7.4, 2)
    for penalized, colour, label in ((True, BLUE, "with the penalty"), (False, ORANGE, "without")):
        label = f"{label}: squared norm {np.mean(norms[penalized]):.0f}"
        for i, (axis, sizes) in enumerate(zip(axes, (NOISE, STEPS), strict=True)):
            draw_seeds(axis, sizes, [100 * np.array(run[i]) for run in results[penalized]], colour, label)
    axes[0].set(title="Gaussian noise", xlabel="standard deviation (pixels from 0 to 1)")
    axes[1].set(title="Attack: one step of FGSM", xlabel="change of each pixel")
    for axis in axes:
        axis.set(ylim=(0, 100), ylabel="accuracy on new digits (%)")
        axis.grid(axis="y", alpha=0.3)
        axis.axhline(10, color=GREY, ls="--", lw=1)
    axes[0].annotate("chance", (0, 10), (0, 4), textcoords="offset points", color=GREY)
    fig.legend(*axes[0].get_legend_handles_labels(), title="thin lines: seeds", loc="outside lower center")
    fig.savefig(path, dpi=180)


def main():
    arguments, start = arguments_of(__doc__, epochs=20), time.perf_counter()
    x, y = load_digits()
    new, data = (x[:1000], y[:1000]), (x[1000:], y[1000:])
    results, norms = {False: [], True: []}, {False: [], True: []}
    for penalized in (False, True):
        for seed in range(arguments.seeds):
            plain = train(data, STRENGTH if penalized else 0.0, arguments.epochs, seed)
            norms[penalized].append(squared_norm(plain, new[0]))
            results[penalized].append(robustness(plain, *new))
        clean, noisy, attacked = (
            of_seeds([run[i][place] for run in results[penalized]]) for i, place in ((0, 0), (0, 4), (1, 4))
        )
        print(
            f"{'with' if penalized else 'without'} the penalty: "
            f"squared norm {np.mean(norms[penalized]):.2f}, accuracy {clean}, "
            f"with noise of {NOISE[4]:.1f} {noisy}, after an attack of {STEPS[4]:.2f} {attacked}"
        )
    draw(results, norms, arguments.out / "jacobian.png")
    print(f"{time.perf_counter() - start:.0f} s, figure: {arguments.out / 'jacobian.png'}")


if __name__ == "__main__":
    main()
