"""Models to put penalties on, and what is asked of a model around the same layers."""

import keras
import numpy as np
from keras import layers, tree

import keras_penalties as kp
from tests.support.helpers import BACKEND, to_numpy


def sequential():
    stack = [
        keras.Input((6,)),
        layers.Dense(4, activation="relu", name="a"),
        layers.BatchNormalization(),
        layers.Dense(5, activation="softmax", name="b"),
    ]
    return keras.Sequential(stack, name="stack")


def branched():
    x = keras.Input((8, 8, 3))
    a = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv_a")(x)
    b = layers.DepthwiseConv2D(3, padding="same", activation="tanh", name="conv_b")(x)
    b = layers.Conv2D(4, 1, name="conv_c")(b)
    h = layers.Flatten()(layers.Add(name="sum")([b, a]) * 2.0)
    return keras.Model(x, [layers.Dense(2, activation="gelu", name="out")(h), b])


def nested_and_shared():
    """One encoder and one layer on two inputs, inside a model that is called inside another."""
    encoder = [keras.Input((6,)), layers.Dense(4, activation="relu", name="a"), layers.Dense(4, name="b")]
    encoder = keras.Sequential(encoder, name="encoder")
    left, right = keras.Input((6,), name="left"), keras.Input((6,), name="right")
    twice = layers.Dense(3, activation="elu", name="twice")
    pair = layers.Add(name="sum")([twice(encoder(left)), twice(encoder(right))])
    siamese = keras.Model({"left": left, "right": right}, pair, name="siamese")
    inputs = {"left": keras.Input((6,), name="left"), "right": keras.Input((6,), name="right")}
    return keras.Model(inputs, layers.Dense(2, name="a")(siamese(inputs)), name="around")


def recurrent():
    x = keras.Input((7, 3))
    h = layers.Masking()(x)
    h, state, _ = layers.LSTM(4, return_sequences=True, return_state=True, name="lstm")(h)
    h = layers.TimeDistributed(layers.Dense(3, activation="relu", name="inner"), name="each_step")(h)
    h = layers.Bidirectional(layers.GRU(3), name="both")(h)
    return keras.Model(x, layers.Concatenate(name="out")([h, state]))


@keras.saving.register_keras_serializable("tests")
class Block(layers.Layer):
    """A layer that makes one of its layers in `build`, and calls one of them twice."""

    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = layers.Dense(units, activation="relu", name="inner")
        self.others = [layers.Dropout(0.5, name="dropout"), layers.Dense(units, name="twice")]

    def build(self, shape):
        self.inner.build(shape)
        self.others[1].build((*shape[:-1], self.units))
        self.last = layers.Dense(shape[-1], activation="tanh", name="last")
        self.last.build((*shape[:-1], self.units))

    def call(self, inputs, training=None):
        dropout, twice = self.others
        h = twice(twice(dropout(self.inner(inputs), training=training)))
        return inputs + self.last(h)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("tests")
class Net(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.block, self.out = Block(3, name="block"), layers.Dense(2, name="out")

    def call(self, inputs, training=None):
        return self.out(self.block(inputs, training=training))

    def get_config(self):
        return {"name": self.name}


def subclassed():
    net = Net(name="net")
    net(np.zeros((1, 6), "float32"))
    return net


def blocks():
    """Two blocks and an attention layer in a graph, which returns no scores."""
    x = keras.Input((5, 6))
    h = Block(4, name="block_1")(Block(3, name="first")(x))
    h = layers.MultiHeadAttention(2, 3, dropout=0.1, name="scores")(h, h)  # with dropout, not fused
    return keras.Model(x, layers.Dense(2, name="out")(h))


def batch_for(model, rows=4, seed=1):
    random = np.random.default_rng(seed)
    if isinstance(model, Net):
        return random.normal(size=(rows, 6)).astype("float32")
    spec = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return tree.map_structure(lambda s: random.normal(size=(rows, *s.shape[1:])).astype("float32"), spec)


def outputs(model, x):
    return [to_numpy(y) for y in tree.flatten(model(x, training=False))]


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)  # to the bit


def penalties_of(model):
    """The names of the penalty layers, nested ones too."""
    return [layer.name for layer in model._flatten_layers() if isinstance(layer, kp.layers.ActivityPenalty)]


def logs_of(model, x):
    """What `evaluate` shows of the penalties for `x`, the model having no other loss."""
    compile_quickly(model, _zero)
    y = [np.zeros(to_numpy(y).shape) for y in tree.flatten(model(x))]
    logs = model.evaluate(x, y if len(y) > 1 else y[0], batch_size=100, verbose=0, return_dict=True)
    return {name: value for name, value in logs.items() if name in penalties_of(model)}


def compile_quickly(model, loss):
    # TensorFlow takes longer to trace these small models than to run them.
    eagerly = BACKEND == "tensorflow"
    count = 1 if isinstance(model, Net) else len(model.outputs)
    model.compile("adam", [loss] * count if count > 1 else loss, run_eagerly=eagerly)


def _zero(y_true, y_pred):
    return keras.ops.sum(y_pred * 0.0, axis=-1)
