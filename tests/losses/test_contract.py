"""Every loss: its formula, its function, its weights, its precision, its gradients and its file."""

import inspect
import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from keras_penalties._keras.masks import set_keras_mask
from tests.losses.batch_cases import BATCH_CASES
from tests.losses.cases import CASES
from tests.support.helpers import dtype_of, finite_differences, float64, gradient, tensor, to_numpy

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def drawn(case, rows=7, seed=0):
    return case.draw(np.random.RandomState(seed), rows)


def test_every_exported_loss_has_a_case():
    exported = {getattr(kp.losses, name) for name in kp.losses.__all__}
    exported -= {kp.losses.StatefulLoss, kp.losses.Center}  # tested in tests/models/test_state.py
    cases = [*CASES, *BATCH_CASES]
    assert {c for c in exported if inspect.isclass(c)} == {case.cls for case in cases}
    assert {f for f in exported if not inspect.isclass(f)} == {case.function for case in cases}


@by_case
@pytest.mark.every_case
def test_is_its_formula(case):
    y, p = drawn(case)
    expected = case.reference(y, p)
    np.testing.assert_allclose(to_numpy(case.function(y, p, **case.options)), expected, rtol=2e-5)
    np.testing.assert_allclose(to_numpy(case.make(reduction=None)(y, p)), expected, rtol=2e-5)
    np.testing.assert_allclose(float(case.make()(y, p)), expected.mean(), rtol=2e-5)
    np.testing.assert_allclose(float(case.make(reduction="sum")(y, p)), expected.sum(), rtol=2e-5)


@by_case
def test_uses_sample_weight(case):
    y, p = drawn(case)
    weights = np.linspace(0.0, 2.0, len(y)).astype("float32")
    expected = np.mean(case.reference(y, p) * weights)
    np.testing.assert_allclose(float(case.make()(y, p, sample_weight=weights)), expected, rtol=2e-5)


@by_case
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_summed_in_float32(case, dtype):
    y, p = drawn(case)
    p = tensor(p, dtype)
    value = case.function(tensor(y, dtype), p, **case.options)
    assert dtype_of(value) == "float32"
    expected = case.reference(to_numpy(tensor(y, dtype)), to_numpy(p))
    np.testing.assert_allclose(to_numpy(value), expected, rtol=1e-4, atol=1e-6)
    loss = case.make(dtype=dtype)
    np.testing.assert_allclose(float(loss(y, p)), expected.mean(), rtol=2e-2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert keras.backend.standardize_dtype(again.dtype) == dtype


@by_case
def test_rows_that_a_mask_drops_do_not_count(case):
    y, p = drawn(case)
    kept = np.arange(len(y)) % 2 == 0
    expected = case.reference(y, p)[kept].mean()
    p = tensor(p)
    set_keras_mask(p, tensor(kept))
    np.testing.assert_allclose(float(case.make()(y, p)), expected, rtol=2e-5)


@by_case
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_value_and_gradient_are_finite_at_the_edges(case, dtype):
    for y, p in case.edges:
        y, p = np.array([y], "float32"), tensor(np.array([p], "float32"), dtype)
        assert np.isfinite(to_numpy(case.function(y, p, **case.options))).all(), (y, p)
        slope = gradient(lambda p, y=y: ops.sum(case.function(y, p, **case.options)), p)
        assert np.isfinite(slope).all(), (y, p)


@by_case
@pytest.mark.every_case
def test_gradient_is_that_of_finite_differences(case):
    y, p = (a.astype("float64") for a in drawn(case, 4, seed=3))
    with float64():
        found = gradient(lambda p: ops.sum(case.function(y, p, **case.options)), tensor(p))
    expected = finite_differences(lambda p: case.reference(y, p).sum(), p)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", [*CASES, *BATCH_CASES], ids=lambda case: case.name)
def test_goes_through_a_file_with_its_parameters(case):
    loss = case.make(name="mine", reduction="sum")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    assert config["registered_name"] == f"keras_penalties>{case.cls.__name__}"
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is case.cls
    assert (again.name, again.reduction) == ("mine", "sum")
    assert again.arguments == loss.arguments
    for name, value in case.options.items():
        assert getattr(again, name) == value


@by_case
def test_trains_and_saves_in_a_compiled_model(case, tmp_path):
    y, p = drawn(case, 8)
    inputs = keras.Input(p.shape[1:])
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    model.compile("sgd", case.make(), metrics=[])
    expected = case.reference(y, p).mean()
    np.testing.assert_allclose(float(model.evaluate(p, y, verbose=0)), expected, rtol=2e-5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(float(again.evaluate(p, y, verbose=0)), expected, rtol=2e-5)


@by_case
def test_shapes_that_differ(case):
    y, p = drawn(case)
    with pytest.raises(ValueError, match="`y_true` of .* must have the shape of `y_pred`.*Received.*label"):
        case.function(np.concatenate([y, y], axis=1), p, **case.options)
    with pytest.raises(ValueError, match="must have the shape of `y_pred`"):
        case.make()(np.concatenate([y, y], axis=1), p)
