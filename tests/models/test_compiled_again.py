"""Weights that move, names, metrics, and what is kept when a model is compiled again or loaded."""

import json

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.models.networks import data, one_hidden
from tests.support.helpers import fresh_process, to_numpy

R = kp.regularizers
FALL = keras.optimizers.schedules.PolynomialDecay(1.0, 4, 0.0)


def compiled(model, weight=FALL, **options):
    arguments = {
        "hidden_losses": {"dense_4": "mae", "out": "mse", ("dense_4", "out"): R.Hint(0.1, projection=True)},
        "hidden_loss_weights": {"dense_4": weight, "out": 0.5},
        "hidden_names": {("dense_4", "out"): "agree", "out": "second"},
        "hidden_metrics": {"dense_4": ["mae", keras.metrics.MeanSquaredError(name="mse")]},
        "hidden_targets": {"dense_4": "wide"},
    }
    model.compile(keras.optimizers.SGD(0.1), "mse", **arguments | options)
    return model


def wrapped():
    return kp.models.HiddenOutputs(one_hidden(), hidden=["dense_4", "out"])


def batches():
    x, y = data()
    wide = np.random.default_rng(1).normal(size=(len(x), wrapped().model.get_layer("dense_4").units))
    return x, {"out": y, "wide": wide.astype("float32")}


def test_a_weight_that_moves_is_counted_and_logged():
    model, (x, y) = compiled(wrapped()), batches()
    history = model.fit(x, y, batch_size=len(x), epochs=6, verbose=0).history
    np.testing.assert_allclose(history["dense_4_loss_weight"], [1, 0.75, 0.5, 0.25, 0, 0])
    expected = np.multiply(history["dense_4_loss_weight"], history["dense_4_mae"])
    np.testing.assert_allclose(history["dense_4_loss"], expected, rtol=1e-5)
    parts = ("main_loss", "dense_4_loss", "second_loss", "agree_loss")
    np.testing.assert_allclose(history["loss"], sum(np.array(history[key]) for key in parts), rtol=1e-5)
    before = model.evaluate(x, y, verbose=0, return_dict=True)
    assert before == model.evaluate(x, y, verbose=0, return_dict=True)  # which does not count


def test_a_weight_that_meets_a_target():
    target = kp.schedules.Target(0.5, initial=0.2)
    model, (x, y) = compiled(wrapped(), target), batches()
    history = model.fit(x, y, batch_size=len(x), epochs=4, verbose=0).history
    np.testing.assert_allclose(history["dense_4_loss_measure"], history["dense_4_mae"], rtol=1e-5)
    assert len(set(history["dense_4_loss_weight"])) > 1


def test_compiling_again_keeps_the_state_of_what_stays_the_same():
    model, (x, y) = compiled(wrapped()), batches()
    model.fit(x, y, batch_size=len(x), epochs=2, verbose=0)
    learned = [to_numpy(v.value) for v in model.trainable_variables]
    compiled(model)
    for before, after in zip(learned, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(before, to_numpy(after.value))
    history = model.fit(x, y, batch_size=len(x), epochs=1, verbose=0).history
    assert history["dense_4_loss_weight"] == pytest.approx([0.5])
    other = keras.optimizers.schedules.PolynomialDecay(0.8, 4, 0.0)
    compiled(model, other)
    history = model.fit(x, y, batch_size=len(x), verbose=0).history
    assert history["dense_4_loss_weight"] == pytest.approx([0.8])


def test_an_optimizer_goes_on_with_what_is_learned():
    model, (x, y) = compiled(wrapped()), batches()
    optimizer = keras.optimizers.Adam(0.01)
    arguments = {"hidden_losses": {("dense_4", "out"): R.Hint(0.1, projection=True)}}
    model.compile(optimizer, "mse", **arguments)
    model.fit(x, y["out"], verbose=0)
    model.compile(optimizer, "mse", **arguments)
    model.fit(x, y["out"], verbose=0)
    assert int(optimizer.iterations) == 2


def test_is_loaded_as_it_was_compiled(tmp_path):
    model, (x, y) = compiled(wrapped()), batches()
    model.fit(x, y, batch_size=len(x), epochs=2, verbose=0)
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=x, **y)
    code = f"""
import json, keras, numpy as np
import keras_penalties
model = keras.models.load_model({str(tmp_path / "model.keras")!r})
data = np.load({str(tmp_path / "data.npz")!r})
x, y = data["x"], {{"out": data["out"], "wide": data["wide"]}}
logs = model.evaluate(x, y, verbose=0, return_dict=True)
history = model.fit(x, y, batch_size=len(x), verbose=0).history
print(json.dumps([logs, history["dense_4_loss_weight"][0]]))
"""
    logs, weight = json.loads(fresh_process(code).splitlines()[-1])
    assert logs == pytest.approx(expected, rel=1e-5)
    assert weight == pytest.approx(0.5)


def test_two_metrics_of_one_key():
    model = kp.models.HiddenOutputs(one_hidden(), hidden=["dense_4"])
    x, y = batches()
    mse = keras.metrics.MeanSquaredError(name="dense_4_mae")
    model.compile(
        "sgd", "mse", metrics=[mse], hidden_metrics={"dense_4": "mae"}, hidden_targets={"dense_4": "wide"}
    )
    with pytest.raises(ValueError, match="Two metrics have the key 'dense_4_mae'"):
        model.evaluate(x, y, verbose=0)


def test_compiling_again_replaces_the_loss_and_the_metrics():
    """Plain Keras keeps those of the call before where it is given none."""
    model, (x, y) = wrapped(), data()
    model.compile("sgd", "mse", metrics=["mae"], hidden_losses={"out": "mse"}, hidden_metrics={"out": "mae"})
    model.evaluate(x, y, verbose=0)
    model.compile("sgd", hidden_losses={"out": "mse"})
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "out_loss"}
    assert logs["loss"] == pytest.approx(logs["out_loss"])


def test_a_callback_finds_which_direction_is_better():
    model, (x, y) = wrapped(), data()
    model.compile("sgd", "mse", hidden_metrics={"out": ["mae", keras.metrics.R2Score(name="r2")]})
    for monitor, better in (("val_out_mae", keras.ops.less), ("val_out_r2", keras.ops.greater)):
        stop = keras.callbacks.EarlyStopping(monitor)
        model.fit(x, y, validation_data=(x, y), verbose=0, callbacks=[stop])
        assert stop.monitor_op is better
