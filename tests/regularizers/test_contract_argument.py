"""Every penalty as `activity_regularizer=`: what reaches the loss is strength times measure."""

import keras
import numpy as np
import pytest

from tests.contracts import PENALTIES
from tests.support.helpers import tensor

pytestmark = pytest.mark.parametrize("case", PENALTIES, ids=lambda case: case.name)


def _layer(case):
    if not case.ways(["argument"]):
        with pytest.raises(TypeError, match="changes with each training step.*ActivityPenalty"):
            case.make()(case.draw((4, 3)))
        pytest.skip("needs an owner")
    return keras.layers.Activation("linear", activity_regularizer=case.make())


def test_adds_strength_times_measure_at_any_batch_size(case):
    for batch in (1, 5, 50):
        x = case.draw((batch, 3, 2))
        layer = _layer(case)
        layer(x)
        assert len(layer.losses) == 1
        np.testing.assert_allclose(float(layer.losses[0]), case.added(x), rtol=1e-4, atol=1e-7)


def test_adds_the_same_in_a_compiled_step(case):
    for batch in (1, 5):
        x = case.draw((batch, 3, 2))
        inputs = keras.Input(x.shape[1:])
        model = keras.Model(inputs, _layer(case)(inputs))
        model.compile(optimizer="sgd", loss="mse")
        loss = model.evaluate(x, x, batch_size=batch, verbose=0)
        np.testing.assert_allclose(loss, case.added(x), rtol=1e-4, atol=1e-7)


def test_is_the_same_number_in_mixed_float16_at_300(case):
    keras.config.set_dtype_policy("mixed_float16")
    x = np.random.default_rng(0).normal(300, 5, case.fit((6, 3)))
    x = (case.arrange(x) if case.accepts(x) else case.draw((6, 3))).astype("float16")
    layer = _layer(case)
    layer(tensor(x))
    np.testing.assert_allclose(float(layer.losses[0]), case.added(x), rtol=1e-3)


@pytest.mark.parametrize("argument", ["kernel_regularizer", "bias_regularizer"])
def test_is_refused_on_weights(case, argument):
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, name="head", **{argument: case.make()})]
    )
    weight = argument.split("_")[0]
    words = (
        rf"{case.cls.__name__} penalizes what a layer does, not its weights.*"
        rf"Received the variable '.*head/{weight}'.*activity_regularizer"
    )
    with pytest.raises(TypeError, match=words):
        _ = model.losses
