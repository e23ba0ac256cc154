"""One learned pattern: bounded, the same for all, trained, saved."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.support.helpers import to_numpy

Layer = kp.layers.UniversalPerturbation


def test_adds_one_bounded_pattern_to_every_row():
    layer = Layer(0.5, initial=10.0)
    x = np.random.RandomState(0).rand(5, 4, 3).astype("float32")
    change = to_numpy(layer(x)) - x
    np.testing.assert_allclose(change, np.broadcast_to(change[:1], change.shape), atol=1e-6)
    np.testing.assert_allclose(change[0], 0.5 * np.tanh(to_numpy(layer.pattern)), atol=1e-6)
    assert np.abs(change).max() > 0.4


def test_keeps_to_the_range_of_values():
    layer = Layer(0.5, value_range=(0.0, 1.0), initial=10.0)
    result = to_numpy(layer(np.array([[0.0] * 8, [1.0] * 8], "float32")))
    assert result.min() == 0.0
    assert result.max() == 1.0


@pytest.mark.slow
def test_learns_and_goes_through_a_file(tmp_path):
    model = keras.Sequential([keras.Input((3,)), Layer(0.5, value_range=(-1, 1), name="key")])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    x = np.zeros((8, 3), "float32")
    model.fit(x, x + np.array([0.4, -0.4, 0.0]), epochs=120, verbose=0)
    np.testing.assert_allclose(model.predict(x[:1], verbose=0)[0], [0.4, -0.4, 0.0], atol=0.03)
    model.save(tmp_path / "key.keras")
    again = keras.models.load_model(tmp_path / "key.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.get_layer("key").get_config() == model.get_layer("key").get_config()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"bound": 0.0}, ValueError, "`bound` of UniversalPerturbation.*> 0. Received: bound=0.0"),
        ({"bound": "1"}, TypeError, "`bound`.*of type str"),
        ({"bound": 1.0, "value_range": (1.0, 0.0)}, ValueError, "`value_range`.*low < high"),
        ({"bound": 1.0, "value_range": 1.0}, ValueError, r"`value_range`.*pair \(low, high\).*Received.*1.0"),
        ({"bound": 1.0, "initial": -1.0}, ValueError, "`initial`"),
    ],
)
def test_refusals(arguments, error, message):
    with pytest.raises(error, match=message):
        Layer(**arguments)


def test_a_shape_that_is_not_known():
    with pytest.raises(ValueError, match="needs an input whose shape after the batch is known"):
        Layer(0.5)(keras.Input((None, 3)))
