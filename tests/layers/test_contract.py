"""Every layer: passes on what it is given, bit by bit, and adds what it says to the loss."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_penalties._keras.masks import get_keras_mask, set_keras_mask
from tests.contracts_layers import LAYERS
from tests.support.helpers import dtype_of, tensor

pytestmark = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)


def bits(x):
    return np.ascontiguousarray(ops.convert_to_numpy(ops.cast(x, "float32"))).view("uint32")


def added(layer):
    return float(sum(layer.losses))


def around(case, shape, **options):
    """A model with nothing but the layer."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, case.make(name="pressed", **options)(inputs))
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    return model


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "float64"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_passes_its_input_on_untouched(case, policy, dtype):
    keras.config.set_dtype_policy(policy)
    x = case.draw((4, 5))
    x[0] = [0.0, -0.0, 6e-8, 1 / 3, 1.0]
    x = tensor(x, dtype)
    y = case.make()(x)
    assert dtype_of(y) == dtype
    np.testing.assert_array_equal(bits(y), bits(x))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_predicts_what_it_is_given(case, policy):
    keras.config.set_dtype_policy(policy)
    x = case.draw((7, 2, 3))
    np.testing.assert_array_equal(around(case, (2, 3)).predict(x, batch_size=3, verbose=0), x)


def test_adds_the_penalty_at_any_rank(case):
    for shape in [(6,), (5, 4), (4, 3, 2), (3, 2, 2, 3), (2, 2, 3, 2, 2)]:
        x, layer = case.draw(shape), case.make()
        layer(x)
        np.testing.assert_allclose(added(layer), case.added(x), rtol=1e-4, atol=1e-6, err_msg=str(shape))


def test_adds_the_same_number_in_training_and_outside(case):
    x = case.draw((5, 4))
    for training in (True, False, None):
        layer = case.make()
        layer(x, training=training)
        np.testing.assert_allclose(added(layer), case.added(x), rtol=1e-4)


def test_training_only(case):
    x = case.draw((5, 4))
    for training, expected in ((True, case.added(x)), (False, 0.0), (None, 0.0)):
        layer = case.make(training_only=True)
        layer(x, training=training)
        np.testing.assert_allclose(added(layer), expected, rtol=1e-4)


def test_uses_the_mask_that_it_is_given(case):
    x, mask = case.draw((4, 5, 3)), np.arange(20).reshape(4, 5) % 3 > 0
    layer = case.make()
    layer(x, mask=mask)
    np.testing.assert_allclose(added(layer), case.added(x, mask), rtol=1e-4)


def test_uses_and_passes_on_the_mask_of_the_layers_before(case):
    x = np.abs(case.draw((4, 5, 3))) + 0.1
    x[:, 3:], x[1, 1:] = 0.0, 0.0
    mask = np.any(x != 0, axis=-1)
    layer = case.make(name="pressed")
    inputs = keras.Input((None, 3))
    pooled = keras.layers.GlobalAveragePooling1D()(layer(keras.layers.Masking()(inputs)))
    model = keras.Model(inputs, pooled)
    averages = np.stack([x[n, mask[n]].mean(axis=0) for n in range(len(x))])
    np.testing.assert_allclose(model.predict(x, verbose=0), averages, rtol=1e-5)
    model.compile(loss="mse")
    logs = model.evaluate(x, averages, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["pressed"], case.added(x, mask), rtol=1e-4)


def test_its_own_mask_is_not_passed_on(case):
    """What comes after the layer sees the mask that came with the tensor, whatever mask it was given."""
    layer, mask = case.make(), tensor(np.ones((2, 3), bool))
    assert layer.supports_masking
    x = tensor(case.draw((2, 3, 4)))
    assert get_keras_mask(layer(x, mask=mask)) is None
    assert layer.compute_mask(x, mask) is None
    set_keras_mask(x, mask)
    assert get_keras_mask(layer(x, mask=tensor(np.zeros((2, 3), bool)))) is mask
    assert layer.compute_mask(x) is mask


def test_says_what_comes_out_before_anything_runs(case):
    for shape, dtype in (((None, 4), "float32"), ((None, None, 3), "float16"), ((8, 2, 2, 3), "bfloat16")):
        inputs = keras.KerasTensor(shape, dtype=dtype)
        for output in (case.make().compute_output_spec(inputs), case.make()(inputs)):
            assert isinstance(output, keras.KerasTensor)
            assert (tuple(output.shape), output.dtype) == (shape, dtype)


def test_knows_its_output_shape(case):
    assert tuple(case.make().compute_output_shape((None, 2, 4))) == (None, 2, 4)


def test_has_no_weights(case):
    model = around(case, (3,))
    model.fit(case.draw((4, 3)), case.draw((4, 3)), verbose=0)
    assert model.layers[-1].variables == []
    assert model.layers[-1].count_params() == 0
    assert model.weights == []


def test_shows_its_value_under_its_own_name(case):
    x, other = case.draw((7, 2, 3)), case.draw((5, 2, 3), seed=1)
    logs = around(case, (2, 3)).fit(x, x, batch_size=7, validation_data=(other, other), verbose=0).history
    assert set(logs) == {"loss", "pressed", "val_loss", "val_pressed"}
    np.testing.assert_allclose(logs["pressed"], [case.added(x)], rtol=1e-4)
    np.testing.assert_allclose(logs["val_pressed"], [case.added(other)], rtol=1e-4)
    np.testing.assert_allclose(logs["loss"], logs["pressed"], rtol=1e-6)
    np.testing.assert_allclose(logs["val_loss"], logs["val_pressed"], rtol=1e-6)


def test_training_only_leaves_evaluation_alone(case):
    x = case.draw((7, 3))
    model = around(case, (3,), training_only=True)
    logs = model.fit(x, x, batch_size=7, validation_data=(x, x), verbose=0).history
    np.testing.assert_allclose(logs["loss"], [case.added(x)], rtol=1e-4)
    assert logs["val_loss"] == [0.0]
    assert logs.get("val_pressed", [0.0]) == [0.0]
    assert model.evaluate(x, x, verbose=0, return_dict=True)["loss"] == 0.0


def test_config_survives_json(case):
    layer = case.make(name="pressed", training_only=True)
    again = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert again.get_config() == layer.get_config()
    assert (again.name, again.training_only) == ("pressed", True)


def test_serialized_and_back(case):
    layer = case.make(name="pressed")
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert saved["registered_name"] == f"keras_penalties>{case.cls.__name__}"
    again, x = keras.saving.deserialize_keras_object(saved), case.draw((4, 3))
    assert type(again) is case.cls
    again(x)
    np.testing.assert_allclose(added(again), case.added(x), rtol=1e-4)
