"""A differential equation, solved by a network: the derivatives of its output are in its loss.

The network is a damped oscillator u(t) once u'' + 2 d u' + w^2 u is 0 at all times, and it starts with
u = 1 and u' = 0. Nothing else is known in training; the exact solution is for comparison. From a clone:

    python examples/differential_equation.py --out out
"""

import time

from _common import BLUE, GREY, ORANGE, arguments_of, pyplot

import keras
import numpy as np
from keras import ops

import keras_penalties as kp

DAMPING, FREQUENCY, END = 0.3, 2.0, 8.0
BATCH, STARTS, STEPS = 200, 20, 10  # times in a batch, how many of them are 0, batches in an epoch


def exact(t):
    """The position, and the speed."""
    w = np.sqrt(FREQUENCY**2 - DAMPING**2)
    shrinking = np.exp(-DAMPING * t)
    position = shrinking * (np.cos(w * t) + DAMPING / w * np.sin(w * t))
    return position, -shrinking * FREQUENCY**2 / w * np.sin(w * t)


def network():
    t = keras.Input((1,), name="t")
    h = keras.layers.Rescaling(2 / END, offset=-1.0)(t)
    for _ in range(3):
        h = keras.layers.Dense(32, activation="tanh")(h)
    return keras.Model(t, keras.layers.Dense(1, name="u")(h))


def equation(is_start, u, hidden):
    """The squared error of each row: of the equation, and at the start of u = 1 and u' = 0."""
    speed, acceleration = hidden["speed"], hidden["acceleration"]
    residual = (acceleration + 2 * DAMPING * speed + FREQUENCY**2 * u) / FREQUENCY**2
    start = ops.square(u - 1.0) + ops.square(speed)
    return ops.sum(ops.square(residual) + 10.0 * is_start * start, axis=-1)


def train(epochs, seed):
    """The solution, which is a plain Keras model, and the model that trained it."""
    keras.utils.set_random_seed(seed)
    solution = network()
    model = kp.models.HiddenOutputs(
        solution,
        hidden={
            "speed": kp.models.Gradient("u", wrt="t"),
            "acceleration": kp.models.Gradient("speed", wrt="t"),
        },
    )
    rate = keras.optimizers.schedules.CosineDecay(0.005, epochs * STEPS)
    model.compile(keras.optimizers.Adam(rate), joint_loss=equation)
    t = np.random.default_rng(seed).uniform(0.0, END, (STEPS, BATCH, 1)).astype("float32")
    t[:, :STARTS] = 0.0
    t = t.reshape(-1, 1)
    history = model.fit(t, (t == 0.0).astype("float32"), batch_size=BATCH, epochs=epochs, verbose=0)
    return solution, history.history["loss"]


def draw(t, found, losses, path):
    plt = pyplot()
    fig, axes = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
    title = "u'' + 2 d u' + ω² u = 0, solved by a network that knows the equation and the start alone"
    fig.suptitle(title, fontsize=15, fontweight="bold")
    position = exact(t)[0]
    axes[0].plot(t, position, color=GREY, lw=7, alpha=0.4, label="exact")
    axes[0].plot(t, found[0], color=BLUE, lw=2, label="network")
    axes[0].set(title="Solution", xlabel="t", ylabel="u")
    axes[0].legend()
    for u in found:
        axes[1].semilogy(t, np.abs(u - position), color=ORANGE, lw=1.2)
    axes[1].set(title="Its error: a line for each seed", xlabel="t", ylabel="absolute difference from exact u")
    for loss in losses:
        axes[2].semilogy(np.arange(1, len(loss) + 1), loss, color=BLUE, lw=0.8)
    axes[2].set(title="Loss in training", xlabel="epoch", ylabel="squared error of the equation and the start")
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
