"""Three known recipes that penalize a hidden layer, as usually written, next to this package.

`intermediate_layer.py` runs them. Each function `recipe_*` returns rows: what is done, what the recipe
gives, what is right, and what `keras_penalties` gives.
"""

import importlib.util

from _common import in_new_process

import keras
import numpy as np
from keras import ops

import keras_penalties as kp

STRENGTH = 1e-3
PENALTY = kp.regularizers.L2(STRENGTH)
KERAS_L2 = keras.regularizers.L2(STRENGTH)
CROSS_ENTROPY = "sparse_categorical_crossentropy"


def network(before=None, after=None, regularizer=None, hidden=None):
    """The network, with the same initial weights each time.

    `before` and `after` make a layer before and after the activation of layer 4, `regularizer` is its
    `activity_regularizer`, and the layer `hidden` becomes a second output.
    """
    keras.utils.set_random_seed(0)
    digits = keras.Input((28, 28, 1), name="digits")
    h = keras.layers.Conv2D(16, 5, strides=2, activation="relu", name="layer_1")(digits)
    h = keras.layers.Conv2D(32, 3, strides=2, activation="relu", name="layer_2")(h)
    h = keras.layers.Flatten(name="layer_3")(h)
    h = keras.layers.Dense(64, name="layer_4")(h)
    h = before()(h) if before else h
    h = keras.layers.Activation("relu", activity_regularizer=regularizer, name="layer_4_relu")(h)
    h = after()(h) if after else h
    outputs = keras.layers.Dense(10, activation="softmax", dtype="float32", name="layer_5")(h)
    model = keras.Model(digits, outputs, name="cnn")
    return keras.Model(digits, [outputs, model.get_layer(hidden).output]) if hidden else model


class SquaredSum(keras.layers.Layer):
    """Recipe 1 as it is usually written: a layer that passes its input on and adds a loss."""

    def call(self, x):
        self.add_loss(STRENGTH * ops.sum(ops.square(x)))
        return x


def batch_mean(x):
    """Recipe 2 as usually written by hand: the mean over the batch."""
    return STRENGTH * ops.mean(ops.sum(ops.square(x), axis=-1))


def squared_hidden(_, hidden):
    """Recipe 3 as it is usually written: a loss of the second output that ignores its labels."""
    return STRENGTH * ops.sum(ops.square(hidden))


def passing():
    """Recipe 1 with this package."""
    return kp.layers.ActivityPenalty(PENALTY, name="layer_4_penalty")


def wrapped(model, name="layer_4_relu"):
    """Recipe 3 with this package: the layer called `name` is penalized."""
    model = kp.models.HiddenOutputs(model, hidden=[name])
    model.compile("adam", CROSS_ENTROPY, metrics=["accuracy"], hidden_losses={name: PENALTY})
    return model


LOAD = """
import sys, json, keras, keras_penalties
def load(path):
    try:
        keras.saving.load_model(path)
        return "loads"
    except Exception as error:  # Keras wraps the cause: it is said last
        return f"{type(error).__name__}: {str(error).split('Exception encountered: ')[-1]}"
print(json.dumps([load(path) for path in sys.argv[1:]]))
"""

USED_TWICE_ON_JAX = """
import os; os.environ["KERAS_BACKEND"] = "jax"
import json, keras, numpy as np, keras_penalties as kp
ones = np.ones((6, 3), "float32")
def added(after, regularizer):
    a, b = keras.Input((3,)), keras.Input((3,))
    dense = keras.layers.Dense(2, kernel_initializer="ones", activity_regularizer=regularizer)
    model = keras.Model([a, b], [after(dense(a)), after(dense(b))])
    model.compile("sgd")
    return model.evaluate([ones, ones], batch_size=6, verbose=0, return_dict=True)["loss"]
layer = kp.layers.ActivityPenalty(kp.regularizers.L2(1.0))
print(json.dumps([added(lambda x: x, keras.regularizers.L2(1.0)), added(layer, None)]))
"""


def evaluate(model, x, y):
    """The logs over `x` as one batch."""
    return model.evaluate(x, y, batch_size=len(x), verbose=0, return_dict=True)


def message(action):
    """The error that `action` raises, on one line, or "fits"."""
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
    return "fits"


def number(*values):
    """Values as the table shows them."""
    return ", ".join(f"{v:.3f}" for v in values)


def sequence_loss(x, regularizer=None, after=None, spread=False):
    """What a small layer adds to the loss on sequences; -1 is padding. `spread` uses TimeDistributed."""
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(16, bias_initializer="ones", activity_regularizer=regularizer)
    inputs = keras.Input((None, 28))
    h = keras.layers.Masking(-1.0)(inputs)
    h = keras.layers.TimeDistributed(dense)(h) if spread else dense(h)
    model = keras.Model(inputs, after()(h) if after else h)
    model(x)
    return float(sum(model.losses))


class Bench:
    """Held-out digits, and the network, trained without a penalty, on which the recipes are measured."""

    def __init__(self, x, y, plain, out):
        self.x, self.y, self.plain, self.out = x, y, plain, out
        layers = [plain.get_layer(name).output for name in ("layer_4", "layer_4_relu")]
        before, after = keras.Model(plain.input, layers).predict(x, verbose=0)
        self.activations = {"before": before, "after": after}
        self.rights = number(self.right(32), self.right(256))

    def right(self, size=256, of="after"):
        """By NumPy: the strength times the squared sum of each digit, averaged over the batch."""
        h = self.activations[of][:size].astype("float64")
        return STRENGTH * np.mean(np.sum(h**2, axis=1))

    def trained(self, **arguments):
        """`network(...)` with the trained weights, compiled."""
        model = network(**arguments)
        model.set_weights(self.plain.get_weights())
        model.compile("adam", CROSS_ENTROPY)
        return model

    def added(self, size=256, dtype="float32", **arguments):
        """What `network(...)` adds to the loss on a batch of `size` digits."""
        keras.config.set_dtype_policy(dtype)
        model = self.trained(**arguments)
        keras.config.set_dtype_policy("float32")
        model(self.x[:size])
        return float(sum(ops.cast(loss, "float32") for loss in model.losses))

    def sizes(self, **arguments):
        """What is added on a batch of 32 and on one of 256."""
        return number(*(self.added(size, **arguments) for size in (32, 256)))

    def second_output(self, size, loss=squared_hidden):
        """What recipe 3, as usually written, adds to the loss: the hidden layer's labels are zeros."""
        model = self.trained(hidden="layer_4_relu")
        model.compile("adam", [CROSS_ENTROPY, loss])
        return evaluate(model, self.x[:size], [self.y[:size], np.zeros((size, 64))])["layer_4_relu_loss"]


def recipe_1(b):
    """A pass-through layer with `add_loss`."""
    right, ours = number(b.right()), number(b.added(after=passing))
    hidden = b.plain.get_layer("layer_4_relu").output
    before = b.added(before=SquaredSum), b.right(of="before"), b.added(before=passing)
    half = [b.added(dtype="mixed_float16", after=after) for after in (SquaredSum, passing)]
    logs = [evaluate(b.trained(after=after), b.x, b.y) for after in (SquaredSum, passing)]
    files = [b.out / "add_loss.keras", b.out / "activity_penalty.keras"]
    for file, after in zip(files, (SquaredSum, passing), strict=True):
        b.trained(after=after).save(file)
    loading = in_new_process(LOAD, *files)
    return [
        ("model.add_loss(tensor)", message(lambda: b.plain.add_loss(ops.sum(hidden**2))), right, ours),
        ("batch of 32, of 256", b.sizes(after=SquaredSum), b.rights, b.sizes(after=passing)),
        ("before the activation", *map(number, before)),
        ("mixed_float16", number(half[0]), right, number(half[1])),
        ("names in the log", ", ".join(logs[0]), "each term", ", ".join(logs[1])),
        ("loaded in a new process", loading[0], "loads", loading[1]),
    ]


def recipe_2(b):
    """`activity_regularizer=`, with Keras' own L2 or a function."""
    mean, ours = b.sizes(regularizer=batch_mean), b.sizes(regularizer=PENALTY)
    half = [b.added(dtype="mixed_float16", regularizer=r) for r in (KERAS_L2, PENALTY)]
    files = [b.out / "function.keras", b.out / "regularizer.keras"]
    for file, regularizer in zip(files, (batch_mean, PENALTY), strict=True):
        b.trained(regularizer=regularizer).save(file)
    loading = in_new_process(LOAD, *files)
    steps = b.x[:256, ..., 0]  # a digit as a sequence of 28 rows; then with 12 steps of padding after it
    padded = np.pad(steps, ((0, 0), (0, 12), (0, 0)), constant_values=-1)
    right = sequence_loss(steps, KERAS_L2)
    within = sequence_loss(padded, KERAS_L2), right, sequence_loss(padded, after=passing)
    spread = (
        sequence_loss(steps, KERAS_L2, spread=True),
        right,
        sequence_loss(steps, after=passing, spread=True),
    )
    rows = [
        ("batch mean, of 32, of 256", mean, b.rights, ours),
        ("Keras' L2, batch of 32, of 256", b.sizes(regularizer=KERAS_L2), b.rights, ours),
        ("Keras' L2, mixed_float16", number(half[0]), number(b.right()), number(half[1])),
        ("Keras' L2, 12 padded steps", *map(number, within)),
        ("Keras' L2 in TimeDistributed", number(spread[0]), number(right), number(spread[1])),
        ("function, in a new process", loading[0], "loads", loading[1]),
    ]
    if importlib.util.find_spec("jax"):
        keras_own, ours = in_new_process(USED_TWICE_ON_JAX)
        rows.append(("Keras' L2, used twice, on JAX", number(keras_own), number(36), number(ours)))
    return rows


def recipe_3(b):
    """The layer as a second output, with a loss over the predictions and the hidden values."""
    x, y, zeros = b.x[:32], b.y[:32], np.zeros((32, 64))
    two, ours = b.trained(hidden="layer_4_relu"), wrapped(b.trained())
    two.compile("sgd", [CROSS_ENTROPY, squared_hidden])
    terms = [b.second_output(n) for n in (32, 256)]
    our_terms = [evaluate(ours, b.x[:n], b.y[:n])["layer_4_relu_loss"] for n in (32, 256)]
    mean = STRENGTH * b.second_output(256, "mse")
    shapes = [keras.tree.map_structure(lambda p: p.shape[1], m.predict(x, verbose=0)) for m in (two, ours)]
    weights = {"class_weight": dict.fromkeys(range(10), 1.0), "verbose": 0}
    closure, joint = with_closure(b), with_joint_loss(b)
    at_once = [message(lambda m=m: m.fit(x, y, verbose=0)) for m in (closure, joint)]
    plain_fit = [message(lambda m=m: m.fit(x, y, verbose=0)) for m in (two, ours)]
    weighted = [
        message(lambda: two.fit(x, [y, zeros], **weights)),
        message(lambda: ours.fit(x, y, **weights)),
    ]
    return [
        ("y_pred and the layer at once", at_once[0], "fits", at_once[1]),
        ("fit(x, y)", plain_fit[0], "fits", plain_fit[1]),
        ("class_weight=", weighted[0], "fits", weighted[1]),
        ("columns of predict(x)", str(shapes[0]), "10", str(shapes[1])),
        ("zeros as y, of 32, of 256", number(*terms), b.rights, number(*our_terms)),
        ('zeros as y, "mse"', number(mean), number(b.right()), number(our_terms[1])),
    ]


def with_closure(b):
    """A loss that accesses the layer's output, as usually written."""
    model, hidden = b.trained(), b.plain.get_layer("layer_4_relu").output

    def loss(y_true, y_pred):
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred) + STRENGTH * ops.sum(hidden**2)

    model.compile("sgd", loss)
    return model


def with_joint_loss(b):
    """A loss on labels, predictions and the layer's output, with this package."""
    model = kp.models.HiddenOutputs(b.trained(), hidden=["layer_4_relu"])

    def loss(y_true, y_pred, hidden):
        squares = ops.sum(ops.square(hidden["layer_4_relu"]), axis=-1)
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred) + STRENGTH * squares

    model.compile("sgd", joint_loss=loss)
    return model
