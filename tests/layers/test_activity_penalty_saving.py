"""Models with an ActivityPenalty are saved, loaded and cloned as any other."""

import json

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.layers.networks import compiled, data, hidden, hidden_then_head, main_loss
from tests.support import references
from tests.support.helpers import fresh_process

WAYS = pytest.mark.parametrize("way", ["argument", "layer"])

EVALUATE = """
import keras, json, numpy as np
import keras_penalties
model = keras.saving.load_model({path!r})
rng = np.random.default_rng(0)
x, y = rng.normal(size=(6, 3)).astype("float32"), rng.normal(size=(6, 1)).astype("float32")
before = model.evaluate(x, y, batch_size=6, verbose=0, return_dict=True)
model.fit(x, y, batch_size=6, verbose=0)
after = model.evaluate(x, y, batch_size=6, verbose=0, return_dict=True)
print(json.dumps([{{k: float(v) for k, v in logs.items()}} for logs in (before, after)]))
"""


def penalties():
    return [
        kp.regularizers.DeCov(5.0),
        kp.regularizers.KLSparsity(0.5, target=0.1),
        kp.regularizers.L1L2(0.1, 0.2),
    ]


def added(h):
    return (
        5 * references.decov(h)
        + 0.5 * references.kl_sparsity(h, target=0.1)
        + references.l1l2(h, l1=0.1, l2=0.2)
    )


def test_a_plain_checkpoint_loads_into_the_penalized_model_and_back(tmp_path):
    plain, penalized = hidden_then_head(), hidden_then_head(penalties())
    for source, target in ((plain, penalized), (penalized, plain)):
        source.set_weights([np.random.normal(size=w.shape) for w in source.get_weights()])
        source.save_weights(tmp_path / "of.weights.h5")
        target.load_weights(tmp_path / "of.weights.h5")
        for ours, theirs in zip(target.get_weights(), source.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_checkpoint_of_a_trained_model_with_its_optimizer(tmp_path):
    """The optimizer's state is in the file too; the logs' is not."""
    (x, y), models = data(6), [compiled(hidden_then_head(p), optimizer="adam") for p in (penalties(), None)]
    for model in models:
        model.fit(x, y, verbose=0)
    for source, target in (models, models[::-1]):
        source.save_weights(tmp_path / "of.weights.h5")
        target.load_weights(tmp_path / "of.weights.h5")


def test_keras_file_in_a_fresh_process(tmp_path):
    model = compiled(hidden_then_head(penalties()), learning_rate=0.1, metrics=["mse"])
    (x, y), path = data(6), str(tmp_path / "model.keras")
    model.save(path)
    ours = model.evaluate(x, y, batch_size=6, verbose=0, return_dict=True)
    model.fit(x, y, batch_size=6, verbose=0)
    trained = model.evaluate(x, y, batch_size=6, verbose=0, return_dict=True)
    printed = json.loads(fresh_process(EVALUATE.format(path=path)).splitlines()[-1])
    for logs, theirs in zip((ours, trained), printed, strict=True):
        assert set(theirs) == {"loss", "mse", "pressed"}
        for key, value in logs.items():
            np.testing.assert_allclose(theirs[key], value, rtol=1e-5, err_msg=key)


@WAYS
def test_keras_file_round_trip(tmp_path, way):
    penalty = kp.regularizers.DeCov(5.0)
    model = compiled(hidden_then_head(penalty, way))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    (x, y), weights = data(6), model.get_weights()
    expected = main_loss(weights, x, y) + 5.0 * references.decov(hidden(weights, x))
    for m in (model, again):
        logs = m.evaluate(x, y, batch_size=6, verbose=0, return_dict=True)
        np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
        assert ("pressed" in logs) == (way == "layer")


@WAYS
def test_training_goes_on_where_it_stopped(tmp_path, way):
    (x, y), batch = data(8), {"batch_size": 4, "shuffle": False, "verbose": 0}
    model = hidden_then_head(kp.regularizers.DeCov(5.0), way)
    model = compiled(model, optimizer=keras.optimizers.Adam(0.05))
    model.fit(x, y, epochs=2, **batch)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    ours, theirs = (m.fit(x, y, epochs=2, **batch).history for m in (model, again))
    assert set(ours) == set(theirs)
    for key, values in ours.items():
        np.testing.assert_allclose(theirs[key], values, rtol=1e-5, err_msg=key)


@WAYS
def test_json_round_trip(way):
    penalty = kp.regularizers.DeCov(5.0)
    model = hidden_then_head(penalty, way)
    again = keras.models.model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    (x, y) = data(6)
    losses = [compiled(m).evaluate(x, y, batch_size=6, verbose=0) for m in (model, again)]
    first = [loss[0] if isinstance(loss, list) else loss for loss in losses]
    np.testing.assert_allclose(first[1], first[0], rtol=1e-6)


@WAYS
def test_clone_model(way):
    penalty = kp.regularizers.DeCov(5.0)
    model = hidden_then_head(penalty, way)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    (x, y) = data(6)
    ours, theirs = (
        compiled(m).evaluate(x, y, batch_size=6, verbose=0, return_dict=True) for m in (model, clone)
    )
    assert set(ours) == set(theirs)
    for key, value in ours.items():
        np.testing.assert_allclose(theirs[key], value, rtol=1e-6)
    if way == "layer":
        assert clone.get_layer("pressed") is not model.get_layer("pressed")
        assert clone.get_layer("pressed").penalty is not model.get_layer("pressed").penalty


def test_a_nested_and_a_sequential_model(tmp_path):
    inner = keras.Sequential(
        [keras.Input((3,)), kp.layers.ActivityPenalty(kp.regularizers.L2(0.1), name="pressed")]
    )
    inputs = keras.Input((3,))
    model, (x, _) = compiled(keras.Model(inputs, inner(inputs))), data(6)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    logs = again.evaluate(x, x, batch_size=6, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["pressed"], 0.1 * references.l2(x), rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], logs["pressed"], rtol=1e-6)


def test_the_file_holds_nothing_but_json_and_weights(tmp_path):
    """No pickles and no code: `safe_mode` stays on, and the config is plain."""
    model = compiled(hidden_then_head(penalties()))
    model.save(tmp_path / "model.keras")
    keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    config = json.dumps(model.get_config(), default=str)
    assert "__lambda__" not in config
    assert "keras_penalties>ActivityPenalty" in config
    assert "keras_penalties>DeCov" in config


def test_a_backup_restores_training(tmp_path):
    """`BackupAndRestore` and `ModelCheckpoint` see the penalty's log like any other."""
    (x, y), model = data(8), compiled(hidden_then_head(penalties()))
    best = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "best.keras"), monitor="val_pressed", mode="min", save_best_only=True
    )
    stop = keras.callbacks.EarlyStopping(monitor="pressed", patience=1, min_delta=1.0, mode="min")
    history = model.fit(x, y, validation_data=(x, y), epochs=5, callbacks=[best, stop], verbose=0).history
    assert len(history["pressed"]) == 2
    assert (tmp_path / "best.keras").exists()
