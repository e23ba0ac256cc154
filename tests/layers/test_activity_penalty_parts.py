"""An ActivityPenalty inside a part that its loss cannot leave: rematerialized, a loop, a branch."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.layers.networks import compiled, data
from tests.support import references
from tests.support.helpers import BACKEND

EAGER = pytest.mark.parametrize("eager", [False, True])
LOST = r"ActivityPenalty 'inside' is called inside a part that is recomputed in the backward pass"


class Block(layers.Layer):
    """A layer with a penalty inside, as an argument of a layer or as a layer."""

    def __init__(self, argument=False, **kwargs):
        super().__init__(**kwargs)
        penalty = kp.regularizers.L2(0.1)
        self.dense = layers.Dense(3, activity_regularizer=penalty if argument else None)
        self.penalty = layers.Identity() if argument else kp.layers.ActivityPenalty(penalty, name="inside")

    def build(self, input_shape):
        self.dense.build(input_shape)
        self.built = True

    def call(self, x):
        return self.penalty(self.dense(x))


class Rematerialized(Block):
    def call(self, x):
        return keras.remat(lambda x: Block.call(self, x))(x)


class Kept(Block):
    """A function that is made once: JAX traces it once, and does not run its code again."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.function = self.transformed(lambda x: Block.call(self, x))

    def call(self, x):
        return self.function(x)


class RematerializedKept(Kept):
    transformed = staticmethod(keras.remat)


class JittedKept(Kept):
    @staticmethod
    def transformed(function):
        import jax

        return jax.jit(function)


class Mapped(Block):
    """A loop over the batch that the backend compiles by itself."""

    def call(self, x):
        return ops.vectorized_map(lambda row: Block.call(self, row[None])[0], x)


class Branch(Block):
    def call(self, x):
        return ops.cond(ops.sum(x) > -1e9, lambda: Block.call(self, x), lambda: x)


def scoped(**kwargs):
    with keras.RematScope(mode="full"):
        return Block(**kwargs)


def trained(block, eager):
    x, y = data(8)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(1)(block(inputs)))
    compiled(model, run_eagerly=eager)
    return model.fit(x, y, batch_size=4, verbose=0)


@EAGER
@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize(
    "part", [RematerializedKept, pytest.param(JittedKept, marks=pytest.mark.backends("jax"))]
)
def test_a_function_that_a_layer_keeps_is_refused_by_name(part, built, eager):
    """In a model of its own class, which Keras builds before the step, where nobody reads losses."""

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.block = part()

        def call(self, x):
            return self.block(x)

    x, y = data(8)
    with pytest.raises(ValueError, match=LOST):
        model = Net()
        if built:
            model(x)
        compiled(model, run_eagerly=eager)
        model.fit(x, y[:, :1] * np.ones((1, 3), "float32"), batch_size=8, verbose=0)


@EAGER
@pytest.mark.parametrize("part", [Rematerialized, scoped])
def test_what_is_rematerialized_is_refused_by_name(part, eager):
    if part is scoped and BACKEND == "tensorflow" and not eager:
        pytest.skip("Keras fails on any layer of `training` there, a Dense too")
    with pytest.raises(ValueError, match=LOST):
        trained(part(), eager)


@EAGER
def test_an_argument_inside_what_is_rematerialized_is_refused(eager):
    """Of a layer that is rematerialized by itself, Keras reads the activity outside of that."""
    with pytest.raises(ValueError, match=r"A layer with `activity_regularizer=L2\(...\)` is called inside"):
        trained(Rematerialized(argument=True), eager)


@pytest.mark.backends("tensorflow", "jax")
@pytest.mark.parametrize("part", [Mapped, Branch])
def test_loops_and_branches_that_are_compiled_are_refused_by_name(part):
    with pytest.raises(ValueError, match=LOST):
        trained(part(), eager=False)


def test_outside_of_what_is_rematerialized_it_counts_once():
    x, y = data(8)
    inputs = keras.Input((3,))
    h = keras.layers.Dense(3)(inputs)
    with keras.RematScope(mode="list_of_layers", layer_names=["act"]):
        h = layers.Activation("tanh", name="act")(h)
    h = kp.layers.ActivityPenalty(kp.regularizers.L2(0.1), name="outside")(h)
    model = compiled(keras.Model(inputs, layers.Dense(1)(h)))
    hidden = keras.Model(inputs, h).predict(x, verbose=0)
    logs = model.fit(x, y, batch_size=8, verbose=0).history
    np.testing.assert_allclose(logs["outside"], [0.1 * references.l2(hidden)], rtol=1e-5)


@pytest.mark.backends("torch")
def test_the_older_checkpoints_of_torch_are_refused_in_the_backward_pass():
    import torch

    class Reentrant(Block):
        def call(self, x):
            return torch.utils.checkpoint.checkpoint(lambda x: Block.call(self, x), x, use_reentrant=True)

    x = torch.ones((2, 3), requires_grad=True)
    block = Reentrant()
    y = block(x)
    with pytest.raises(ValueError, match=LOST):
        y.sum().backward()


@pytest.mark.backends("tensorflow", "torch")
def test_prediction_is_not_refused():
    """Nothing is added to a loss there. On JAX a training step could use what prediction has traced, without
    the penalty."""
    x, _ = data(4)
    inputs = keras.Input((3,))
    outputs = keras.Model(inputs, Rematerialized()(inputs)).predict(x, verbose=0)
    assert outputs.shape == (4, 3)


@pytest.mark.backends("jax")
def test_losses_after_a_function_that_is_compiled_are_refused():
    import jax

    model = keras.Sequential([keras.Input((3,)), kp.layers.ActivityPenalty("l2", name="inside")])
    jax.jit(model)(np.ones((2, 3), "float32"))
    with pytest.raises(ValueError, match=LOST):
        _ = model.losses

    def loss(x):
        model(x)
        return sum(model.losses)

    np.testing.assert_allclose(float(jax.jit(loss)(np.ones((2, 3), "float32"))), 0.03, rtol=1e-5)
