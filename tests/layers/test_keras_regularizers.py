"""Regularizers of Keras and of users, whatever they return: each way gives the number that Keras computes."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from keras_penalties._keras.releases import KERAS_DIVIDES_BY_BATCH

X = np.random.RandomState(0).randn(4, 3).round(1).astype("float32")
RETURNED = {
    "scalar": lambda x: ops.sum(ops.square(x)),
    "one per feature": lambda x: ops.sum(ops.square(x), axis=0),
    "one per example": lambda x: ops.sum(ops.square(x), axis=1),
    "one per element": ops.square,
    "half precision": lambda x: ops.cast(ops.square(x), "float16"),
    "a count": lambda x: ops.sum(ops.cast(x > 0, "int32")),
    "a number": lambda x: 2.0,
}
EXPECTED = dict.fromkeys(RETURNED, np.sum(X**2) / len(X))
EXPECTED |= {"a count": np.sum(X > 0) / len(X), "a number": 2.0 / len(X)}
by_shape = pytest.mark.parametrize("returned", RETURNED)


@keras.saving.register_keras_serializable("tests")
class Returns(keras.regularizers.Regularizer):
    def __init__(self, returned):
        self.returned = returned

    def __call__(self, x):
        return RETURNED[self.returned](x)

    def get_config(self):
        return {"returned": self.returned}


def attached(way, regularizer):
    """A model that adds the regularizer of its input, and the key in the logs."""
    argument = {"activity_regularizer": regularizer} if way == "argument" else {}
    start = keras.Input((3,))
    h = keras.layers.Dense(3, kernel_initializer="identity", name="h", **argument)(start)
    if way == "layer":
        return keras.Model(start, kp.layers.ActivityPenalty(regularizer, name="p")(h)), "p"
    if way == "penalize":
        return kp.penalize(keras.Model(start, h), {"h": regularizer}), "h_penalty"
    if way == "hidden output":
        return kp.models.HiddenOutputs(keras.Model(start, h), hidden=["h"]), "h_loss"
    return keras.Model(start, h), "loss"


@by_shape
@pytest.mark.parametrize("way", ["layer", "penalize", "hidden output", "argument"])
def test_what_it_returns_is_summed_and_divided_by_the_batch(returned, way):
    if way == "argument" and (not KERAS_DIVIDES_BY_BATCH or returned in ("half precision", "a number")):
        pytest.skip("this Keras gives another number, or fails")
    model, key = attached(way, Returns(returned))
    more = {"hidden_losses": {"h": Returns(returned)}} if way == "hidden output" else {}
    model.compile(keras.optimizers.SGD(0.0), "mse", **more)
    logs = model.fit(X, X, batch_size=4, verbose=0).history
    np.testing.assert_allclose(logs[key], [EXPECTED[returned]], rtol=1e-3)
    np.testing.assert_allclose(logs["loss"], [EXPECTED[returned]], rtol=1e-3)


@pytest.mark.parametrize("way", ["layer", "argument"])
@pytest.mark.parametrize("returned", ["one per feature", "one per element"])
def test_audit_measures_it(returned, way):
    model, _ = attached(way, Returns(returned))
    model.compile("sgd", "mse")
    (record,) = kp.audit(model, X, X).records
    assert "counted" not in record["verdict"], record["why"]
    if way == "layer" or KERAS_DIVIDES_BY_BATCH:
        np.testing.assert_allclose(record["value"], EXPECTED[returned], rtol=1e-3)


def test_one_that_returns_nothing_is_named():
    class Forgets(keras.regularizers.Regularizer):
        def __call__(self, x):
            ops.sum(x)

    with pytest.raises(TypeError, match="Forgets must return a tensor.*Received: None"):
        kp.layers.ActivityPenalty(Forgets())(X)
