"""Digits from noise: a Wasserstein GAN with a gradient penalty in its own `train_step`.

`critic.compute_loss` computes the penalty on mixtures of real and generated images. For comparison, the same
GAN is trained without the penalty. Run it from a clone with

    python examples/digits_gan.py --out out
"""

import argparse
import time
from pathlib import Path

from _common import BLUE, GREY, ORANGE, load_digits, pyplot

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

import keras_penalties as kp

NOISE, BATCH, STEPS_OF_CRITIC, STRENGTH = 32, 64, 3, 10.0


def make_generator():
    stack = [layers.Dense(7 * 7 * 32, activation="relu"), layers.Reshape((7, 7, 32))]
    stack += [layers.Conv2DTranspose(32, 4, strides=2, padding="same", activation="relu")]
    stack += [layers.Conv2D(1, 5, padding="same", activation="sigmoid")]
    return keras.Sequential([keras.Input((NOISE,)), *stack])


def make_critic(strength):
    image = keras.Input((14, 14, 1), name="image")
    h = layers.Conv2D(32, 5, strides=2, padding="same", activation="leaky_relu")(image)
    h = layers.Conv2D(64, 5, strides=2, padding="same", activation="leaky_relu")(h)
    h = layers.Dense(64, activation="leaky_relu")(layers.Flatten()(h))
    plain = keras.Model(image, layers.Dense(1, name="score")(h))
    critic = kp.models.HiddenOutputs(plain, {"slope": kp.models.Gradient("score", wrt="image")})
    critic.compile(hidden_losses={"slope": kp.regularizers.GradientPenalty(strength)})
    return critic


class GAN(keras.Model):
    """The Wasserstein GAN of Gulrajani et al., 2017."""

    def __init__(self, strength):
        super().__init__()
        self.generator, self.critic = make_generator(), make_critic(strength)

    def compile(self):
        super().compile()
        self.of_generator, self.of_critic = (keras.optimizers.Adam(5e-4, beta_1=0.5) for _ in range(2))

    def train_step(self, real):
        for _ in range(STEPS_OF_CRITIC):
            fake = self.generator(keras.random.normal((BATCH, NOISE)), training=True)
            share = keras.random.uniform((BATCH, 1, 1, 1))
            mixed = share * real + (1 - share) * fake
            with tf.GradientTape() as tape:
                gap = ops.mean(self.critic(real)) - ops.mean(self.critic(fake))
                penalty = self.critic.compute_loss(x=mixed, y_pred=self.critic(mixed, training=True))
                loss = penalty - gap
            weights = self.critic.trainable_variables
            self.of_critic.apply(tape.gradient(loss, weights), weights)
        with tf.GradientTape() as tape:
            fake = self.generator(keras.random.normal((BATCH, NOISE)), training=True)
            loss = -ops.mean(self.critic(fake))
        weights = self.generator.trainable_variables
        self.of_generator.apply(tape.gradient(loss, weights), weights)
        return {"gap": gap, "penalty": penalty, "norm": self.norm(mixed)}

    def norm(self, images):
        """The mean norm of the critic's gradient, for the figure."""
        with tf.GradientTape() as tape:
            tape.watch(images)
            score = self.critic.model(images)
        slope = tape.gradient(score, images)
        return ops.mean(ops.sqrt(ops.sum(ops.square(slope), axis=(1, 2, 3))))


class Norms(keras.callbacks.Callback):
    """The norm of the gradient after each step."""

    def __init__(self):
        super().__init__()
        self.norms = []

    def on_train_batch_end(self, batch, logs):
        self.norms.append(float(logs["norm"]))


def train(images, strength, epochs, seed=0):
    """Samples of the generator, and the norms of the critic's gradient."""
    keras.utils.set_random_seed(seed)
    gan, norms = GAN(strength), Norms()
    gan.compile()
    data = tf.data.Dataset.from_tensor_slices(images).shuffle(5000, seed=seed).batch(BATCH, True)
    gan.fit(data, epochs=epochs, shuffle=False, callbacks=[norms], verbose=0)
    noise = np.random.default_rng(seed).normal(size=(36, NOISE)).astype("float32")
    return gan.generator.predict(noise, verbose=0), norms.norms


def tiles(images):
    return images[:36].reshape(6, 6, 14, 14).transpose(0, 2, 1, 3).reshape(84, 84)


def draw(images, results, path):
    plt = pyplot()
    fig, axes = plt.subplots(1, 4, figsize=(15, 4.4), width_ratios=(1, 1, 1, 1.3), layout="constrained")
    title = "A gradient penalty keeps the critic's slope near 1, and the generator learns digits"
    fig.suptitle(title, fontsize=15, fontweight="bold")
    pictures = {
        "real": images,
        "without the penalty": results[0.0][0],
        "with the penalty": results[STRENGTH][0],
    }
    for axis, (name, tile) in zip(axes, pictures.items(), strict=False):
        axis.imshow(tiles(tile), cmap="Greys", vmin=0, vmax=1)
        axis.set_title(name)
        axis.set_axis_off()
    for strength, colour, label in ((0.0, ORANGE, "without the penalty"), (STRENGTH, BLUE, "with it")):
        norms = results[strength][1]
        axes[3].semilogy(np.arange(1, len(norms) + 1), norms, color=colour, lw=1, label=label)
    axes[3].axhline(1, color=GREY, ls="--", lw=1.5)
    axes[3].set(xlabel="step", title="Norm of the critic's gradient")
    axes[3].grid(axis="y", alpha=0.3)
    axes[3].legend()
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    parser.add_argument("--epochs", type=int, default=12)
    arguments, start = parser.parse_args(), time.perf_counter()
    arguments.out.mkdir(parents=True, exist_ok=True)
    images, _ = load_digits()
    images = images.reshape(-1, 14, 2, 14, 2, 1).mean(axis=(2, 4))  # 14x14
    results = {}
    for strength in (0.0, STRENGTH):
        results[strength] = samples, norms = train(images, strength, arguments.epochs)
        last = norms[-len(images) // BATCH :]
        print(
            f"strength {strength:g}: norm of the gradient {np.mean(last):.2f} in the last epoch "
            f"({np.min(last):.2f} to {np.max(last):.2f}), ink {samples.mean():.3f} of generated digits, "
            f"{images.mean():.3f} of real ones"
        )
    draw(images, results, arguments.out / "digits_gan.png")
    print(f"{time.perf_counter() - start:.0f} s, figure: {arguments.out / 'digits_gan.png'}")


if __name__ == "__main__":
    main()
