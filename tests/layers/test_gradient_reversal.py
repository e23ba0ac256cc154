"""`GradientReversal`: the input to the last bit, and its gradient turned around, scaled and counted."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from tests.support.helpers import BACKEND, dtype_of, gradient, tensor, to_numpy

Layer = kp.layers.GradientReversal
X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
GROWING = keras.optimizers.schedules.PolynomialDecay(0.0, 4, 1.0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 7.0])
def test_returns_its_input_to_the_last_bit(dtype, scale):
    for size in (1e-3, 1.0, 3e4):
        x = tensor(size * X, dtype)
        y = Layer(scale, dtype=dtype)(x)
        assert dtype_of(y) == dtype
        np.testing.assert_array_equal(to_numpy(y), to_numpy(x))


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_turns_the_gradient_around(scale):
    layer = Layer(scale)
    found = gradient(lambda x: ops.sum(ops.square(layer(x))), X)
    np.testing.assert_allclose(found, -scale * 2.0 * X, rtol=1e-6)


def model_of(scale, uses=1):
    """The kernel of `feature` moves by the learning rate times the scale, against what `answer` wants."""
    start = keras.Input((1,))
    h = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="feature")(start)
    layer = Layer(scale, name="reversed")
    h = sum(layer(h) for _ in range(uses)) / uses
    answer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", trainable=False)(h)
    model = keras.Model(start, answer)
    model.compile(keras.optimizers.SGD(1.0), "mean_absolute_error")
    return model


ONES, ZEROS = np.ones((2, 1), "float32"), np.zeros((2, 1), "float32")


def steps(model, count=1):
    model.fit(ONES, ZEROS, batch_size=2, epochs=count, verbose=0)
    return float(to_numpy(model.get_layer("feature").kernel)[0, 0])


@pytest.mark.parametrize("uses", [1, 2])
def test_each_training_batch_counts_once(uses):
    model, moved = model_of(GROWING, uses), []
    for _ in range(6):
        moved.append(steps(model))
        model.evaluate(ONES, ZEROS, verbose=0)
        model.predict(ONES, verbose=0)
    scales = np.minimum(np.arange(6) / 4, 1.0)
    np.testing.assert_allclose(moved, 1.0 + np.cumsum(scales), rtol=1e-5)


def test_the_count_is_saved(tmp_path):
    model = model_of(GROWING)
    steps(model, 2)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert steps(again) == pytest.approx(1.0 + 0.25 + 0.5)
    assert again.get_layer("reversed").get_config() == model.get_layer("reversed").get_config()


def test_without_a_schedule_there_are_no_weights():
    assert Layer(0.5).weights == [] and len(Layer(GROWING).weights) == 1
    assert (
        Layer.from_config(Layer(0.5, name="a").get_config()).get_config() == Layer(0.5, name="a").get_config()
    )


def test_passes_the_mask_on():
    start = keras.Input((3,), dtype="int32")
    h = keras.layers.Embedding(5, 2, mask_zero=True)(start)
    pooled = [keras.layers.GlobalAveragePooling1D()(v) for v in (h, Layer(1.0)(h))]
    a, b = keras.Model(start, pooled)(np.array([[1, 2, 0], [3, 0, 0]]))
    np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


@pytest.mark.parametrize("scale", [0.5, GROWING], ids=["number", "schedule"])
def test_is_an_identity_in_an_exported_model(scale, tmp_path):
    if BACKEND == "torch":
        pytest.skip("Keras exports another format there")
    model = model_of(scale)
    model.export(tmp_path / "model", verbose=False)
    served = (
        keras.layers.TFSMLayer(tmp_path / "model", call_endpoint="serve")
        if BACKEND == "tensorflow"
        else model
    )
    np.testing.assert_array_equal(to_numpy(served(ONES)), to_numpy(model(ONES)))


def test_features_from_which_a_domain_cannot_be_told():
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    domain = np.repeat([0.0, 1.0], 64).astype("float32")
    y = np.tile([0.0, 1.0], 64).astype("float32")
    x = np.stack([y, 2.0 * domain], axis=1) + 0.2 * random.normal(size=(128, 2))
    start = keras.Input((2,))
    h = keras.layers.Dense(1, name="feature")(start)
    label = keras.layers.Dense(1, activation="sigmoid", name="label")(h)
    told = keras.layers.Dense(1, activation="sigmoid", name="domain")(Layer(1.0)(h))
    model = keras.Model(start, {"label": label, "domain": told})
    model.compile(keras.optimizers.Adam(0.02), dict.fromkeys(("label", "domain"), "binary_crossentropy"))
    model.fit(x, {"label": y, "domain": domain}, batch_size=128, epochs=200, verbose=0)
    of_label, of_domain = np.abs(to_numpy(model.get_layer("feature").kernel)[:, 0])
    assert of_domain < 0.3 * of_label


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Layer(-1.0), ValueError, "`scale` of GradientReversal must be a finite number >= 0"),
        (lambda: Layer("1"), TypeError, "`scale` of GradientReversal must be a finite number"),
        (lambda: Layer(kp.schedules.Target(0.5)), TypeError, "`scale` of GradientReversal .*Target"),
        (lambda: Layer(1.0)(np.arange(3)), TypeError, "GradientReversal"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()
