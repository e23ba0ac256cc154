"""Distances: values, gradients where the bare formula has none, precision, files, refusals."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from tests.support.helpers import dtype_of, finite_differences, float64, gradient, tensor, to_numpy
from tests.support.steps import OFFSETS, SIZES, assert_is_that_of_float64, mean, scaled

DISTANCES = [kp.layers.EuclideanDistance, kp.layers.CosineDistance]


def euclidean(a, b):
    return np.sqrt(np.sum((a - b) ** 2, axis=-1, keepdims=True))


def cosine(a, b):
    norms = np.linalg.norm(a, axis=-1, keepdims=True) * np.linalg.norm(b, axis=-1, keepdims=True)
    return 1.0 - np.sum(a * b, axis=-1, keepdims=True) / norms


FORMULAS = dict(zip(DISTANCES, (euclidean, cosine), strict=True))
by_class = pytest.mark.parametrize("cls", DISTANCES)


def rows(*shape, seed=0):
    return np.random.RandomState(seed).randn(2, *shape).astype("float32")


@by_class
def test_is_its_formula(cls):
    a, b = rows(6, 3, 4)
    np.testing.assert_allclose(to_numpy(cls()([a, b])), FORMULAS[cls](a, b), rtol=1e-5, atol=1e-6)


@by_class
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e-30, 1e4])
def test_gradient_of_equal_rows_is_finite(cls, value, dtype):
    a = tensor(np.full((3, 4), value, "float32"), dtype)
    slope = gradient(lambda x: ops.sum(cls(dtype=dtype)([x, a])), a)
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(slope, 0.0, atol=1e-6)


def test_the_bare_root_has_no_gradient_there():
    if keras.backend.backend() == "torch":
        pytest.skip("torch gives 0 for the norm at 0")
    a = np.ones((1, 2), "float32")
    assert not np.isfinite(gradient(lambda x: ops.sum(ops.norm(x - a, axis=-1)), a)).all()


@by_class
def test_gradient_is_that_of_finite_differences(cls):
    a, b = rows(3, 4).astype("float64")
    with float64():
        layer = cls(dtype="float64")
        found = gradient(lambda x: ops.sum(layer([x, tensor(b)])), tensor(a))
    expected = finite_differences(lambda x: FORMULAS[cls](x, b).sum(), a)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@by_class
def test_half_precision_at_300(cls):
    a, b = (np.full((2, 40), v, "float32") for v in (300.0, 100.0))
    layer = cls(dtype="float16")
    result = layer([tensor(a, "float16"), tensor(b, "float16")])
    assert dtype_of(result) == "float16"
    np.testing.assert_allclose(to_numpy(result), FORMULAS[cls](a, b), rtol=1e-3, atol=1e-6)


def test_a_row_of_zeros_has_cosine_distance_one():
    assert float(kp.layers.CosineDistance()([np.zeros((1, 3)), np.ones((1, 3))])[0, 0]) == 1.0


@by_class
def test_in_a_model_and_through_a_file(cls):
    a, b = rows(6, 4)
    inputs = [keras.Input((4,)), keras.Input((4,))]
    model = keras.Model(inputs, cls(name="apart")(inputs))
    assert model.output_shape == (None, 1)
    again = keras.Model.from_config(model.get_config())
    np.testing.assert_array_equal(model.predict([a, b], verbose=0), again.predict([a, b], verbose=0))


def mean_and_formula(cls):
    """The mean distance and its formula; one function for a test, so that it is compiled once."""
    layer = cls()
    return lambda a, b: mean(layer.distance(a, b)), lambda a, b: FORMULAS[cls](a, b).mean()


@by_class
def test_of_any_size(cls):
    found, formula = mean_and_formula(cls)
    for size in SIZES:
        assert_is_that_of_float64(found, formula, *scaled(rows(4, 3), size), about=f"size {size:g}")


@by_class
def test_with_a_shared_offset(cls):
    found, formula = mean_and_formula(cls)
    for offset in OFFSETS:
        xs = (np.round(10 * rows(4, 3)) + offset).astype("float32")
        atol = 2e-7 if cls is kp.layers.CosineDistance else 0.0  # of the 1 that the cosine is taken from
        assert_is_that_of_float64(found, formula, *xs, about=f"offset {offset:g}", atol=atol)


@by_class
@pytest.mark.parametrize("shapes", [[(2, 3)], [(2, 3), (2, 4)], [(2, 3), (2, 3), (2, 3)]])
def test_refusals(cls, shapes):
    with pytest.raises(ValueError, match=f"{cls.__name__}.*two tensors.*Received"):
        cls()([np.zeros(shape, "float32") for shape in shapes])
