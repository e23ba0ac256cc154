"""Small networks and their forward passes in NumPy, written out by hand."""

import keras
import numpy as np
from keras import layers


def relu(x):
    return np.maximum(x, 0.0)


def one_hidden(features=3, units=4, name="dense_4", **hidden_arguments):
    """Input -> Dense(relu) -> Dense, with weights that are the same on every backend."""
    model = keras.Sequential(
        [
            keras.Input((features,)),
            layers.Dense(units, activation="relu", name=name, **hidden_arguments),
            layers.Dense(2, name="out"),
        ]
    )
    set_weights(model)
    return model


def set_weights(model, seed=0):
    """Give every weight a value that depends on its place alone, but for what a penalty keeps."""
    random = np.random.RandomState(seed)
    for weight in model.trainable_weights:
        weight.assign(random.uniform(-0.6, 0.6, weight.shape).astype("float32"))
    return model


def forward(weights, x):
    """What `one_hidden` computes: the hidden layer and the output."""
    w1, b1, w2, b2 = weights
    hidden = relu(x @ w1 + b1)
    return hidden, hidden @ w2 + b2


def data(rows=12, features=3, seed=1):
    random = np.random.RandomState(seed)
    x = random.randn(rows, features).astype("float32")
    y = random.randn(rows, 2).astype("float32")
    return x, y
