"""A network solves a differential equation: its loss contains the derivatives of its output.

A network u(t) starts with u = 1 and u' = 0, for any weights. It is a damped oscillator if
u'' + 2 d u' + w^2 u is 0 at all times. The exact solution is used only for comparison. From a clone:

    python examples/differential_equation.py --out out
"""

import time

from _common import BLUE, GREY, ORANGE, arguments_of, pyplot

import keras
import numpy as np
from keras import ops

import keras_penalties as kp

DAMPING, FREQUENCY, END = 0.3, 2.0, 8.0
BATCH, STEPS = 100, 10  # times in a batch, batches in an epoch


def exact(t):
    """The position and the speed."""
    w = np.sqrt(FREQUENCY**2 - DAMPING**2)
    shrinking = np.exp(-DAMPING * t)
    position = shrinking * (np.cos(w * t) + DAMPING / w * np.sin(w * t))
    return position, -shrinking * FREQUENCY**2 / w * np.sin(w * t)


def network():
    t = keras.Input((1,), name="t")
    h = keras.layers.Rescaling(2.0, offset=-END)(t)
    for _ in range(2):
        h = keras.layers.Dense(32, activation=ops.sin)(h)
    free = keras.layers.Dense(1)(h)
    u = 1.0 + ops.square(ops.tanh(t)) * free
    return keras.Model(t, keras.layers.Identity(name="u")(u))


def equation(y_true, u, hidden):
    """The squared error of the equation at each time, in units of u; there are no labels."""
    residual = hidden["acceleration"] + 2 * DAMPING * hidden["speed"] + FREQUENCY**2 * u
    return ops.square(residual[:, 0] / FREQUENCY**2)


def train(epochs, seed):
    """The solution, which is a plain Keras model, and the loss per epoch."""
    keras.utils.set_random_seed(seed)
    solution = network()
    model = kp.models.HiddenOutputs(
        solution,
        hidden={
            "speed": kp.models.Gradient("u", wrt="t"),
            "acceleration": kp.models.Gradient("speed", wrt="t"),
        },
    )
    rate = keras.optimizers.schedules.CosineDecay(0.01, epochs * STEPS)
    model.compile(keras.optimizers.Adam(rate), joint_loss=equation)
    t = np.random.default_rng(seed).uniform(0.0, END, (STEPS * BATCH, 1)).astype("float32")
    history = model.fit(t, batch_size=BATCH, epochs=epochs, verbose=0)
    return solution, history.history["loss"]


def draw(t, found, losses, path):
    plt = pyplot()
    fig, axes = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
    title = "u'' + 2 d u' + ω² u = 0, solved by a network that knows the equation and the start"
    fig.suptitle(title, fontsize=15, fontweight="bold")
    position = exact(t)[0]
    axes[0].plot(t, position, color=GREY, lw=7, alpha=0.4, label="exact")
    axes[0].plot(t, found[0], color=BLUE, lw=2, label="network")
    axes[0].set(title="Solution", xlabel="t", ylabel="u")
    axes[0].legend()
    for u in found:
        axes[1].semilogy(t, np.abs(u - position), color=ORANGE, lw=1.2)
    axes[1].set(title="Its error: a line for each seed", xlabel="t", ylabel="difference from the exact u")
    axes[1].set_ylim(bottom=1e-6)
    for loss in losses:
        axes[2].semilogy(np.arange(1, len(loss) + 1), loss, color=BLUE, lw=0.8)
    axes[2].set(title="Loss in training", xlabel="epoch", ylabel="squared error of the equation")
    for axis in axes:
        axis.grid(axis="y", alpha=0.3)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main():
    arguments, start = arguments_of(__doc__, epochs=300), time.perf_counter()
    t = np.linspace(0.0, END, 401)
    found, losses = [], []
    for seed in range(arguments.seeds):
        solution, loss = train(arguments.epochs, seed)
        found.append(solution.predict(t[:, None].astype("float32"), batch_size=401, verbose=0)[:, 0])
        losses.append(loss)
        error = np.abs(found[-1] - exact(t)[0])
        print(f"seed {seed}: loss {loss[-1]:.1e}, largest error {error.max():.1e}, mean {error.mean():.1e}")
    draw(t, found, losses, arguments.out / "differential_equation.png")
    print(f"{time.perf_counter() - start:.0f} s, figure: {arguments.out / 'differential_equation.png'}")


if __name__ == "__main__":
    main()
