"""`stateless_call` of Keras, which training on JAX uses, runs `call` and not `__call__`: penalties stay."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.support.attach_networks import Block
from tests.support.helpers import tensor, to_numpy
from tests.test_mask_from import INPUTS, counted, l2_of, network, tensor_at

L2 = kp.regularizers.L2(0.5)


def values(layer):
    return [v.value for v in layer.trainable_variables], [v.value for v in layer.non_trainable_variables]


class Parts(keras.Model):
    """A model whose step calls its parts, as a GAN's does."""

    def __init__(self):
        super().__init__()
        self.graph = keras.Sequential([keras.Input((6,)), layers.Dense(3, name="dense")], name="graph")
        self.block, self.dense = Block(4, name="block"), layers.Dense(2, "tanh", name="leaf")
        for part in (self.block, self.dense):
            part(np.zeros((1, 6), "float32"))
        self.built = True

    def call(self, x):
        return self.dense(self.block(x))


KEYS = ["graph", "graph/dense", "block", "block/inner", "leaf", "leaf:preactivation"]


@pytest.mark.parametrize("key", KEYS)
def test_a_part_that_is_called_without_state(key):
    model, x = Parts(), tensor(np.random.RandomState(0).normal(size=(4, 6)).astype("float32"))
    penalized = kp.penalize(model, {key: L2})
    attribute = {"graph": "graph", "block": "block", "leaf": "dense"}[key.split("/")[0].split(":")[0]]
    plain, part = getattr(model, attribute), getattr(penalized, attribute)
    outputs, _, losses = part.stateless_call(*values(part), x, return_losses=True)
    np.testing.assert_array_equal(to_numpy(outputs), to_numpy(plain(x)))
    hidden = {
        "graph": lambda: plain(x),
        "graph/dense": lambda: plain(x),
        "block": lambda: plain(x),
        "block/inner": lambda: plain.inner(x),
        "leaf": lambda: plain(x),
        "leaf:preactivation": lambda: np.arctanh(to_numpy(plain(x))),
    }[key]()
    expected = 0.5 * np.sum(np.asarray(to_numpy(hidden), "float64") ** 2) / 4
    assert len(losses) == 1
    np.testing.assert_allclose(to_numpy(losses[0]), expected, rtol=1e-4)


@pytest.mark.parametrize("key", ["embedding", "block/inner"])
def test_a_mask_by_name_without_state(key):
    penalized = kp.penalize(network(), {key: L2}, mask_from="given")
    _, _, losses = penalized.stateless_call(*values(penalized), INPUTS, return_losses=True)
    expected = l2_of(tensor_at(kp.strip(penalized), key), counted(True))
    np.testing.assert_allclose([to_numpy(loss) for loss in losses], [expected], rtol=1e-5)


def test_a_mask_by_name_in_fit():
    penalized = kp.penalize(network(), {"block/inner": L2}, mask_from="given")
    penalized.compile(keras.optimizers.SGD(0.0), "mse")
    logs = penalized.fit(INPUTS, np.zeros((4, 2)), batch_size=4, verbose=0).history
    expected = l2_of(tensor_at(kp.strip(penalized), "block/inner"), counted(True))
    np.testing.assert_allclose(logs["inner_penalty"], [expected], rtol=1e-5)
