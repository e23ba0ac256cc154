"""Small networks with a hidden layer, and their values in NumPy."""

import keras
import numpy as np

import keras_penalties as kp

FEATURES, UNITS = 3, 4


def data(rows, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, FEATURES)).astype("float32"), rng.normal(size=(rows, 1)).astype("float32")


def hidden_then_head(penalty=None, way="layer", activation="sigmoid", name="pressed", **options):
    """Dense, the penalty on it by one of the ways (or none), and a head; weights are the same each time."""
    argument = {"activity_regularizer": penalty} if way == "argument" else {}
    inputs = keras.Input((FEATURES,))
    h = keras.layers.Dense(UNITS, activation=activation, name="hidden", **argument)(inputs)
    if penalty is not None and way == "layer":
        h = kp.layers.ActivityPenalty(penalty, name=name, **options)(h)
    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(h))
    rng = np.random.default_rng(7)
    scales = (2.0, 0.3, 0.3, 0.3)  # hidden units that vary, and a loss that does not drown the penalty
    for scale, variable in zip(scales, model.trainable_variables, strict=True):
        variable.assign(scale * rng.normal(size=variable.shape))
    return model


def compiled(model, learning_rate=0.0, **options):
    """Compiled for mean squared error; a learning rate of zero keeps the numbers where they are."""
    options = {"optimizer": keras.optimizers.SGD(learning_rate), "loss": "mse", **options}
    model.compile(**options)
    return model


def hidden(weights, x):
    """The activations of the hidden layer, in float64."""
    kernel, bias = (np.asarray(w, "float64") for w in weights[:2])
    return 1.0 / (1.0 + np.exp(-(np.asarray(x, "float64") @ kernel + bias)))


def main_loss(weights, x, y):
    """The mean squared error, in float64."""
    kernel, bias = (np.asarray(w, "float64") for w in weights[2:])
    return float(np.mean((hidden(weights, x) @ kernel + bias - y) ** 2))


def batches(x, size):
    return [x[i : i + size] for i in range(0, len(x), size)]


def mean_over_batches(value, x, size):
    """How Keras averages a number over an epoch: each batch by its size."""
    parts = batches(x, size)
    return sum(len(part) * value(part) for part in parts) / len(x)
