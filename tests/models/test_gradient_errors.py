"""A Gradient that cannot be taken raises an error that says why, on each backend."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.models.networks import set_weights
from tests.models.test_gradient import X, Y, network, wrapped

Gradient, R = kp.models.Gradient, kp.regularizers


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"of": 3, "wrt": "x"}, TypeError, "`of` of Gradient must be the name of a tensor"),
        ({"of": "logits", "wrt": None}, TypeError, "`wrt` of Gradient must be the name of a tensor"),
        ({"of": "logits", "wrt": "x", "feature": 1.5}, TypeError, "`feature` of Gradient must be an int"),
        ({"of": "logits", "wrt": "x", "projections": 0}, ValueError, "`projections` of Gradient must be"),
        ({"of": "logits", "wrt": "x", "projections": "all"}, TypeError, "`projections` of Gradient must be"),
        ({"of": "logits", "wrt": "x", "projections": 1, "feature": 0}, ValueError, "not both"),
        ({"of": "logits", "wrt": "x", "seed": None}, TypeError, "`seed` of Gradient must be"),
    ],
)
def test_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        Gradient(**arguments)


@pytest.mark.parametrize(
    ("hidden", "words"),
    [
        ({"slope": Gradient("logit", "x")}, "has the name 'logit', which matches no layer.*'logits'"),
        ({"slope": Gradient("logits", "pixels")}, "has the name 'pixels', which matches no layer"),
        ({"a": Gradient("b", "x"), "b": Gradient("a", "x")}, "are defined by each other"),
        ({"a": Gradient("logits", "x"), "b": Gradient("logits", "a")}, "is 'a', which is a Gradient itself"),
    ],
    ids=["of", "wrt", "circle", "wrt a gradient"],
)
def test_names(hidden, words):
    with pytest.raises(ValueError, match=words):
        kp.models.HiddenOutputs(network(), hidden)


def test_a_gradient_needs_a_name():
    with pytest.raises(TypeError, match="without a name"):
        kp.models.HiddenOutputs(network(), [Gradient("logits", "x")])


def test_a_gradient_has_the_mask_of_its_tensors():
    with pytest.raises(ValueError, match="has the key 'slope', which is a Gradient"):
        kp.models.HiddenOutputs(network(), {"slope": Gradient("logits", "x")}, mask_from={"slope": "x"})


@keras.saving.register_keras_serializable("tests.models.test_gradient_errors")
class Cut(layers.Layer):
    """A layer through which no gradient goes."""

    def call(self, x):
        return ops.stop_gradient(x)


@keras.saving.register_keras_serializable("tests.models.test_gradient_errors")
class Rounded(layers.Layer):
    def call(self, x):
        return ops.cast(ops.argmax(x, axis=-1, keepdims=True), "float32")


def branches():
    """Two inputs; `logits` depend on `x` alone, two others on nothing with a gradient."""
    x, other = keras.Input((3,), name="x"), keras.Input((3,), name="other")
    h = layers.Dense(4, name="h")(x)
    end = layers.Dense(2, name="logits")(h)
    outputs = [
        end,
        layers.Dense(2, name="after_cut")(Cut()(h)),
        layers.Dense(2, name="after_round")(Rounded()(h)),
    ]
    side = layers.Dense(4, name="side")(other)
    return set_weights(keras.Model([x, other], [*outputs, side]))


@pytest.mark.parametrize("way", ["fit", "evaluate", "eager"])
@pytest.mark.parametrize(
    ("of", "wrt"),
    [("logits", "other"), ("logits", "side"), ("h", "logits"), ("after_cut", "x"), ("after_round", "x")],
)
def test_a_tensor_that_does_not_depend_on_the_other(of, wrt, way):
    model = kp.models.HiddenOutputs(branches(), {"slope": Gradient(of, wrt)})
    model.compile("sgd", hidden_losses={"slope": R.L2(1.0)}, run_eagerly=way == "eager")
    run = model.evaluate if way == "evaluate" else model.fit
    with pytest.raises(ValueError, match=f"'slope' is .*, but '{of}' does not depend on '{wrt}'"):
        run([X, X], verbose=0)


def test_an_element_that_does_not_depend_on_it():
    x = keras.Input((3,), name="x")
    both = layers.Concatenate(name="both")([layers.Dense(1)(x), Cut()(x)])
    model = kp.models.HiddenOutputs(keras.Model(x, both), {"slope": Gradient("both", "x", feature=2)})
    model.compile("sgd", hidden_losses={"slope": R.L2(1.0)})
    # A slice is differentiated: the elements of one tensor share its gradient, which is zero here.
    assert float(model.evaluate(X, verbose=0, return_dict=True)["slope_loss"]) == 0.0


def test_integers():
    ids = keras.Input((4,), dtype="int32", name="ids")
    h = layers.Embedding(5, 3, name="vectors")(ids)
    model = keras.Model(ids, layers.Dense(2, name="logits")(layers.Flatten()(h)))
    data = np.arange(8).reshape(2, 4) % 5
    with pytest.raises(ValueError, match=r"only with respect to one float tensor.*int32.*Embedding"):
        wrapped(model, slope=Gradient("logits", "ids")).fit(data, np.zeros((2, 2)), verbose=0)
    found = wrapped(model, slope=Gradient("logits", "vectors")).evaluate(
        data, np.zeros((2, 2)), verbose=0, return_dict=True
    )
    kernel = model.get_weights()[1]
    assert float(found["slope_loss"]) == pytest.approx(np.sum(kernel.sum(1) ** 2), rel=1e-5)
    with pytest.raises(ValueError, match=r"can differentiate only one float tensor"):
        wrapped(model, slope=Gradient("ids", "vectors")).fit(data, np.zeros((2, 2)), verbose=0)


def test_a_feature_that_is_not_there():
    with pytest.raises(ValueError, match=r"`feature` of .* must be an index of the last axis.* -2 to 1"):
        wrapped(network(), slope=Gradient("logits", "x", feature=2)).fit(X, Y, verbose=0)


def test_a_call_without_gradients_on_torch():
    if keras.backend.backend() != "torch":
        pytest.skip("only PyTorch turns gradients off")
    import torch

    model = wrapped(network(), loss=None, slope=Gradient("logits", "x"))
    with torch.no_grad(), pytest.raises(ValueError, match="PyTorch recorded no gradients"):
        model.compute_loss(x=X, y_pred=model(X))
