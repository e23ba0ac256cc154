"""What a named value costs in a compiled step: operations, counted by XLA."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

BACKENDS = ("jax",)
EXPECTED = 6.0  # a product, two sums, and three of the mean

x = np.ones((32, 64), "float32")


class Penalizes(layers.Layer):
    def call(self, h):
        self.last = 1e-3 * ops.sum(ops.square(h)) / 32
        self.add_loss(self.last)
        return h


class Named(keras.Model):
    def compute_loss(
        self,
        x=None,
        y=None,
        y_pred=None,
        sample_weight=None,
        training=True,
    ):
        for layer, mean in zip(self.penalized, self.means, strict=True):
            mean.update_state(layer.last)
        return super().compute_loss(x, y, y_pred, sample_weight)


def network(make, model=keras.Model):
    start = h = keras.Input((64,))
    after = [make(i) for i in range(3)]
    for layer in after:
        h = layer(layers.Dense(64, activation="relu")(h))
    built = model(start, layers.Dense(10)(h))
    if model is Named:
        built.penalized = after
        built.means = [keras.metrics.Mean(name=f"size_{i}") for i in range(3)]
    return built


def operations(model):
    import jax

    y = np.ones((32, 10), "float32")
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.train_on_batch(x, y)
    parts = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    state = tuple([v.value for v in variables] for variables in parts)
    compiled = jax.jit(model.train_step).lower(state, (x, y)).compile()
    return compiled.cost_analysis()["flops"]


def for_each(named, unnamed):
    return round((operations(named) - operations(unnamed)) / 3, 1)


def plain_keras():
    return for_each(
        network(lambda i: Penalizes(), Named),
        network(lambda i: Penalizes()),
    )


def ours():
    L2 = kp.regularizers.L2(1e-3)
    return for_each(
        network(lambda i: kp.layers.ActivityPenalty(L2, name=f"size_{i}")),
        network(lambda i: Penalizes()),
    )
