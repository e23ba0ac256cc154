"""A VAE and a GAN after Keras' guides: their `train_step` runs the parts of the model, and not `self(x)`."""

import keras
import numpy as np
from keras import layers, ops

from tests.support.helpers import BACKEND


class Mixer(layers.Layer):
    """A composite block: `inner` is reached by its name alone."""

    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.out = layers.Dense(units, "tanh", name="inner"), layers.Dense(units, name="out")

    def build(self, shape):
        self.inner.build(shape)
        self.out.build((*shape[:-1], self.inner.units))

    def call(self, x):
        return self.out(self.inner(x))


class StepOfParts(keras.Model):
    """A step that adds up losses of parts of the model, each with a gradient for variables of its own.

    Attributes:
        mode: whether the losses hold the `losses` of the parts (`"keep"`), or not (`"drop"`), or instead the
            penalty as one writes it by hand (`"by hand"`).
    """

    mode = "keep"

    def objectives(self, x):
        """Pairs of a function to a loss, and the variables that its gradient is for."""
        raise NotImplementedError

    def added(self, part, hidden):
        """What the loss holds for `part`; `hidden` computes the penalized tensor."""
        if self.mode == "by hand":
            h = hidden()
            return 0.5 * ops.sum(ops.square(h)) / h.shape[0]
        return sum(part.losses) if self.mode == "keep" else 0.0

    def train_step(self, *args):
        return getattr(self, f"step_of_{BACKEND}")(*args)

    def step_of_tensorflow(self, x):
        import tensorflow as tf

        total, slopes = 0.0, []
        for objective, variables in self.objectives(x):
            with tf.GradientTape() as tape:
                loss = objective()
            slopes += zip(tape.gradient(loss, variables), variables, strict=True)
            total += loss
        self.optimizer.apply_gradients(slopes)
        return {**self.get_metrics_result(), "loss": total}

    def step_of_torch(self, x):
        import torch

        total, slopes, weights = 0.0, [], []
        for objective, variables in self.objectives(x):
            loss = objective()
            slopes += torch.autograd.grad(loss, [v.value for v in variables])
            weights += variables
            total += loss.detach()
        with torch.no_grad():
            self.optimizer.apply(slopes, weights)
        return {**self.get_metrics_result(), "loss": total}

    def step_of_jax(self, state, x):
        import jax

        trainable, others, optimizer, metrics = state
        now = dict(zip(map(id, self.trainable_variables), trainable, strict=True))
        total, slopes = 0.0, {}
        for i, (_, variables) in enumerate(self.objectives(x)):

            def loss(values, i=i, variables=variables):
                pairs = {**now, **dict(zip(map(id, variables), values, strict=True))}
                mapping = [(v, pairs[id(v)]) for v in self.trainable_variables]
                mapping += zip(self.non_trainable_variables, others, strict=True)
                with keras.StatelessScope(mapping, collect_losses=True):
                    return self.objectives(x)[i][0]()

            value, slope = jax.value_and_grad(loss)([now[id(v)] for v in variables])
            total = total + value
            slopes.update(zip(map(id, variables), slope, strict=True))
        slopes = [slopes[id(v)] for v in self.trainable_variables]
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, slopes, trainable)
        with keras.StatelessScope(list(zip(self.metrics_variables, metrics, strict=True))) as scope:
            logs = self.get_metrics_result()
        metrics = [scope.get_current_value(v) for v in self.metrics_variables]
        return {**logs, "loss": total}, (trainable, others, optimizer, metrics)


class VAE(StepOfParts):
    """https://keras.io/examples/generative/vae, with the noise of the sampling fixed."""

    def __init__(self):
        super().__init__()
        x = keras.Input((6,))
        h = Mixer(name="mixer")(x)
        parts = [layers.Dense(2, name="z_mean")(h), layers.Dense(2, name="z_log_var")(h)]
        self.encoder = keras.Model(x, parts, name="encoder")
        z = keras.Input((2,))
        self.decoder = keras.Model(z, layers.Dense(6)(Mixer(name="mixer")(z)), name="decoder")
        self.built = True

    def call(self, x):
        return self.decoder(self.encoder(x)[0])

    def objectives(self, x):
        def loss():
            mean, log_var = self.encoder(x, training=True)
            noise = ops.convert_to_tensor(noise_for(x.shape[0] or 8, 2))
            again = self.decoder(mean + ops.exp(0.5 * log_var) * noise, training=True)
            kl = ops.mean(-0.5 * (1 + log_var - ops.square(mean) - ops.exp(log_var)))
            loss = ops.mean(ops.square(x - again)) + kl
            return loss + self.added(self, lambda: self.encoder.get_layer("mixer").inner(x))

        return [(loss, self.trainable_variables)]


class GAN(StepOfParts):
    """https://keras.io/guides/custom_train_step_in_tensorflow, the part on GANs, with one optimizer."""

    def __init__(self):
        super().__init__()
        self.generator = keras.Sequential(
            [keras.Input((3,)), Mixer(name="mixer"), layers.Dense(6)], name="generator"
        )
        self.discriminator = keras.Sequential(
            [keras.Input((6,)), Mixer(name="mixer"), layers.Dense(1)], name="discriminator"
        )
        self.built = True

    def call(self, x):
        return self.discriminator(x)

    def objectives(self, x):
        rows = x.shape[0] or 8
        noise = ops.convert_to_tensor(noise_for(rows))

        def of_discriminator():
            both = ops.concatenate([self.generator(noise), x])
            labels = ops.concatenate([ops.ones((rows, 1)), ops.zeros((rows, 1))])
            loss = keras.losses.binary_crossentropy(labels, self.discriminator(both), from_logits=True)
            hidden = self.discriminator.get_layer("mixer").inner
            return ops.mean(loss) + self.added(self.discriminator, lambda: hidden(both))

        def of_generator():
            loss = keras.losses.binary_crossentropy(
                ops.zeros((rows, 1)), self.discriminator(self.generator(noise)), from_logits=True
            )
            return ops.mean(loss)

        return [
            (of_generator, self.generator.trainable_variables),
            (of_discriminator, self.discriminator.trainable_variables),
        ]


def noise_for(rows, width=3):
    return np.random.default_rng(1).normal(size=(rows, width)).astype("float32")
