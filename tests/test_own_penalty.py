"""A penalty that a user writes outside of the package, in a few lines, is as good as one of the package."""

import inspect
import json
import warnings

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from tests.support import own_penalty, references
from tests.support.helpers import ROOT, fresh_process, tensor
from tests.support.own_penalty import Imbalance, Power

LOAD = """
import json, keras, numpy as np
import own_penalty
model = keras.saving.load_model({path!r})
x = np.random.default_rng(0).normal(size=(5, 4, 3)).astype("float32")
print(json.dumps(model.evaluate(x, np.zeros((5, 4, 3), "float32"), verbose=0, return_dict=True)))
"""


@pytest.fixture
def padded():
    x = np.random.default_rng(0).normal(size=(5, 4, 3)).astype("float32")
    x[:, 3:], x[2, 1:] = 0.0, 0.0
    return x, np.any(x != 0, axis=-1)


def fit(model, x, y):
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    return model.fit(x, y, batch_size=len(x), verbose=0).history


def test_it_takes_ten_lines():
    assert len(inspect.getsource(Imbalance).splitlines()) <= 10


@pytest.mark.parametrize("way", ["argument", "layer", "hidden output"])
def test_by_each_way(way):
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    penalty, inputs = Imbalance(0.5), keras.Input((3,))
    if way == "layer":
        h = kp.layers.ActivityPenalty(penalty)(inputs)
    else:
        regularizer = penalty if way == "argument" else None
        h = keras.layers.Activation("linear", activity_regularizer=regularizer, name="h")(inputs)
    model, more = keras.Model(inputs, h), {}
    if way == "hidden output":
        model, more = kp.models.HiddenOutputs(model, hidden=["h"]), {"hidden_losses": {"h": penalty}}
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", **more)
    logs = model.fit(x, x, batch_size=6, verbose=0).history
    np.testing.assert_allclose(logs["loss"], [0.5 * references.imbalance(x)], rtol=1e-5)


def test_with_padded_rows(padded):
    x, mask = padded
    inputs = keras.Input((None, 3))
    h = kp.layers.ActivityPenalty(Imbalance(0.5), name="pressed")(keras.layers.Masking()(inputs))
    logs = fit(keras.Model(inputs, h), x, x)
    np.testing.assert_allclose(logs["pressed"], [0.5 * references.imbalance(x, mask)], rtol=1e-5)


def test_in_float16():
    x = np.random.default_rng(0).normal(300, 40, size=(6, 3)).astype("float16")
    np.testing.assert_allclose(float(Imbalance(0.5).measure(x)), references.imbalance(x), rtol=1e-4)
    keras.config.set_dtype_policy("mixed_float16")
    layer = keras.layers.Activation("linear", activity_regularizer=Imbalance(0.5))
    layer(tensor(x))
    np.testing.assert_allclose(float(layer.losses[0]), 0.5 * references.imbalance(x), rtol=1e-4)


def test_with_the_features_on_another_axis(padded):
    x, mask = padded
    first = np.moveaxis(x, -1, 1)
    penalty = Imbalance(0.5, axis=1)
    np.testing.assert_allclose(float(penalty.measure(first, mask)), references.imbalance(x, mask), rtol=1e-5)
    inputs = keras.Input((3, 4))
    logs = fit(keras.Model(inputs, kp.layers.ActivityPenalty(penalty, name="pressed")(inputs)), first, first)
    np.testing.assert_allclose(logs["pressed"], [0.5 * references.imbalance(x)], rtol=1e-5)


def test_in_a_fresh_process(tmp_path):
    x = np.random.default_rng(0).normal(size=(5, 4, 3)).astype("float32")
    inputs = keras.Input((4, 3))
    h = kp.layers.ActivityPenalty([Imbalance(0.5), Power(0.1, exponent=2)], name="pressed")(inputs)
    model = keras.Model(
        inputs, keras.layers.Activation("tanh", activity_regularizer=Imbalance(2.0, axis=1))(h)
    )
    model.compile(optimizer="sgd", loss="mse")
    model.save(tmp_path / "model.keras")
    code = LOAD.format(path=str(tmp_path / "model.keras"))
    logs = json.loads(fresh_process(code, path=(ROOT, ROOT / "tests" / "support")).splitlines()[-1])
    pressed = 0.5 * references.imbalance(x) + 0.1 * references.power(x, exponent=2)
    total = pressed + 2.0 * references.imbalance(np.tanh(x), axis=1) + np.mean(np.tanh(x) ** 2)
    np.testing.assert_allclose([logs["pressed"], logs["loss"]], [pressed, total], rtol=1e-5)


def test_arguments_of_its_own_are_saved():
    config = Power(0.1, exponent=6, per="element").get_config()
    assert config == {"strength": 0.1, "exponent": 6, "per": "element"}
    assert Power.from_config(config).exponent == 6


def test_one_without_its_method():
    class Nothing(kp.regularizers.PerExamplePenalty):
        pass

    x = np.ones((2, 2), "float32")
    for base, method in (
        (kp.regularizers.Penalty, r"`value\(x, mask\)`"),
        (kp.regularizers.PerExamplePenalty, r"`elements\(x\)`"),
        (kp.regularizers.BatchStatisticPenalty, r"`statistic\(rows, weights\)`"),
    ):
        cls = type("Nothing", (base,), {})
        with pytest.warns(UserWarning, match="Nothing is not registered"):
            penalty = cls(0.1)
        with pytest.raises(NotImplementedError, match=f"Nothing has no formula. Define {method}"):
            penalty.measure(x)


class TestUnregistered:
    """It trains, with a warning, and cannot be saved."""

    @staticmethod
    def make():
        class Loose(kp.regularizers.PerExamplePenalty):
            def elements(self, x):
                return ops.square(x)

        with pytest.warns(
            UserWarning, match=r"Loose is not registered.*@keras\.saving\.register_keras_serializable"
        ):
            return Loose(0.5)

    def test_the_warning_points_at_the_line_that_made_it(self):
        class Loose(kp.regularizers.PerExamplePenalty):
            pass

        class WithItsOwnArguments(kp.regularizers.PerExamplePenalty):
            def __init__(self, strength):
                super().__init__(strength)

        for cls in (Loose, WithItsOwnArguments):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                cls(0.1)
            assert [str(w.message).split()[0] for w in caught] == [cls.__name__]
            assert caught[0].filename == __file__

    def test_registered_ones_do_not_warn(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            kp.regularizers.L2(0.1)
            own_penalty.Total(0.1)

    WORDS = r"Loose cannot be saved: it is not registered.*@keras\.saving\.register_keras_serializable"

    def train(self, way):
        penalty, inputs, more = self.make(), keras.Input((3,)), {}
        regularizer = penalty if way == "argument" else None
        h = keras.layers.Activation("linear", activity_regularizer=regularizer, name="h")(inputs)
        if way == "layer":
            h = kp.layers.ActivityPenalty(penalty)(h)
        model, x = keras.Model(inputs, h), np.ones((4, 3), "float32")
        if way == "hidden output":
            model, more = kp.models.HiddenOutputs(model, hidden=["h"]), {"hidden_losses": {"h": penalty}}
        model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", **more)
        return model, model.fit(x, x, verbose=0).history["loss"]

    @pytest.mark.parametrize("way", ["argument", "layer", "hidden output"])
    def test_it_trains_and_cannot_be_saved(self, tmp_path, way):
        model, loss = self.train(way)
        np.testing.assert_allclose(loss, [1.5], rtol=1e-6)
        with pytest.raises(ValueError, match=self.WORDS):
            model.save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match=self.WORDS):
            keras.saving.serialize_keras_object(model)
        model.save_weights(tmp_path / "only.weights.h5")

    @pytest.mark.parametrize(
        "way",
        [
            pytest.param(
                way,
                marks=pytest.mark.xfail(strict=True, reason="Keras opens the file, then asks for configs"),
            )
            for way in ("argument", "layer")
        ]
        + ["hidden output"],
    )
    def test_no_file_is_touched(self, tmp_path, way):
        model, _ = self.train(way)
        new, old = tmp_path / "new.keras", tmp_path / "old.keras"
        old.write_text("as it was")
        for path in (new, old):
            with pytest.raises(ValueError, match=self.WORDS):
                model.save(path, overwrite=True)
        assert not new.exists()
        assert old.read_text() == "as it was"

    def test_arguments_that_are_not_kept(self):
        @keras.saving.register_keras_serializable(package="own_project")
        class Forgetful(kp.regularizers.PerExamplePenalty):
            def __init__(self, strength, width):
                super().__init__(strength)
                self._width = width

        with pytest.raises(
            ValueError, match=r"Forgetful cannot be saved: its arguments width are not stored"
        ):
            Forgetful(0.1, width=3).get_config()
