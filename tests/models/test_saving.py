"""Files: a wrapped model saves, loads, resumes and exports as the plain model does."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.models.networks import data, one_hidden
from tests.support.helpers import ROOT, fresh_process
from tests.support.own_penalty import Distance, Imbalance


def compiled(model):
    model.compile(
        keras.optimizers.Adam(0.01),
        "mse",
        metrics=["mae"],
        hidden_losses={
            "dense_4": [kp.regularizers.L2(0.1), Imbalance(0.2, axis=1)],
            "out": "mae",
            ("dense_4", "dense_4b"): Distance(0.3),
        },
        hidden_loss_weights={"out": 0.25},
        joint_loss=None,
        steps_per_execution=1,
    )
    return model


def wrapped(base=None):
    hidden = {"dense_4": "dense_4", "out": "out", "dense_4b": "dense_4"}
    return compiled(kp.models.HiddenOutputs(base or one_hidden(), hidden=hidden, name="wrapped"))


RESUME = """
import keras, keras_penalties, numpy as np, sys
sys.path.insert(0, {root!r})
import tests.support.own_penalty
from tests.models.networks import data
model = keras.models.load_model({file!r})
x, y = data()
loss = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
model.reset_metrics()
print(loss, model.train_on_batch(x, y)[0],
      model.train_on_batch(x, y)[0], model.name, type(model).__name__)
"""


def test_a_fresh_process_goes_on_training_with_the_same_losses(tmp_path):
    x, y = data()
    model = wrapped()
    model.fit(x, y, epochs=2, verbose=0)
    file = str(tmp_path / "model.keras")
    model.save(file)
    loss = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    model.reset_metrics()
    first, second = model.train_on_batch(x, y)[0], model.train_on_batch(x, y)[0]
    printed = fresh_process(RESUME.format(root=str(ROOT), file=file)).splitlines()[-1].split()
    np.testing.assert_allclose([float(v) for v in printed[:3]], [loss, first, second], rtol=1e-5)
    assert printed[3:] == ["wrapped", "HiddenOutputs"]


def test_json_and_clone_model():
    x, y = data()
    model = wrapped()
    again = keras.models.model_from_json(model.to_json())
    clone = keras.models.clone_model(model)
    for copy in (again, clone):
        assert isinstance(copy, kp.models.HiddenOutputs)
        copy.set_weights(model.get_weights())
        compiled(copy)
        expected = model.evaluate(x, y, verbose=0, return_dict=True)
        assert copy.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(expected)


@pytest.mark.parametrize("given", [{}, {"jit_compile": True}, {"jit_compile": False}], ids=str)
def test_a_file_says_how_to_compile_as_the_user_said_it(given):
    """The meaning of "auto" differs between backends, but a file is for all of them."""
    model = kp.models.HiddenOutputs(one_hidden(), hidden=["dense_4"])
    assert model.get_compile_config() == {}
    model.compile("sgd", "mse", **given)
    assert model.get_compile_config()["jit_compile"] == given.get("jit_compile", "auto")


def test_weights_files_of_the_plain_model_and_back(tmp_path):
    x, _ = data()
    plain, model = one_hidden(), wrapped()
    plain.set_weights([w + 1.0 for w in plain.get_weights()])
    plain.save_weights(tmp_path / "plain.weights.h5")
    model.load_weights(tmp_path / "plain.weights.h5")
    np.testing.assert_array_equal(model.predict(x, verbose=0), plain.predict(x, verbose=0))
    model.set_weights([w - 2.0 for w in model.get_weights()])
    model.save_weights(tmp_path / "wrapped.weights.h5")
    plain.load_weights(tmp_path / "wrapped.weights.h5")
    np.testing.assert_array_equal(model.predict(x, verbose=0), plain.predict(x, verbose=0))


def test_checkpoints_hold_the_optimizer(tmp_path):
    x, y = data()
    model, other = wrapped(), wrapped()
    model.fit(x, y, epochs=2, verbose=0)
    model.save_weights(tmp_path / "resume.weights.h5")
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "resume.weights.h5")
    for _ in range(2):
        model.reset_metrics(), other.reset_metrics()
        expected = [float(value) for value in model.train_on_batch(x, y)]
        assert [float(value) for value in other.train_on_batch(x, y)] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_export_is_the_wrapped_model_s(tmp_path):
    if keras.backend.backend() == "torch":
        pytest.skip("Keras cannot export a SavedModel from torch")
    pytest.importorskip("tensorflow")
    x, y = data()
    model = wrapped()
    model.fit(x, y, verbose=0)
    model.export(str(tmp_path / "served"), verbose=False)
    np.save(tmp_path / "x.npy", x)
    code = f"""
import numpy as np, sys, tensorflow as tf
served = tf.saved_model.load({str(tmp_path / "served")!r})
np.save({str(tmp_path / "y.npy")!r}, served.serve(np.load({str(tmp_path / "x.npy")!r})))
print("keras_penalties" in sys.modules, len(served.variables))
"""
    assert fresh_process(code).splitlines()[-1] == "False 4"
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), model.predict(x, verbose=0), rtol=1e-5)


def test_a_loss_of_keras_keeps_its_arguments(tmp_path):
    """Keras leaves `delta` and `axis` out of the config of these."""
    losses = keras.losses.Huber(delta=0.1), keras.losses.CosineSimilarity(axis=0)
    model = kp.models.HiddenOutputs(one_hidden(), hidden=["dense_4", "out"])
    hidden = {"dense_4": losses[0], "out": losses[1]}
    model.compile("sgd", losses[0], hidden_losses=hidden, hidden_targets={"dense_4": "wide"})
    x, y = data()
    y = {"out": y, "wide": np.ones((len(x), 4), "float32")}
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(expected, rel=1e-6)
