"""What goes wrong is seen by name, and does no more harm than it must."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.support.helpers import fresh_process

R = kp.regularizers


def model_of(way, strength=0.1):
    """Two hidden layers with a penalty each; neither depends on the other's input, and neither is trained."""
    starts = [keras.Input((3,)), keras.Input((3,))]
    kept = {"kernel_initializer": "ones", "trainable": False}
    tensors = [layers.Dense(4, name=name, **kept)(start) for name, start in zip("ab", starts, strict=True)]
    penalties = {"a": R.L2(strength), "b": R.L2(0.1)}
    if way == "layer":
        shown = [
            kp.layers.ActivityPenalty(penalty, name=f"{name}_loss") for name, penalty in penalties.items()
        ]
        tensors = [layer(tensor) for layer, tensor in zip(shown, tensors, strict=True)]
    model = keras.Model(starts, layers.Dense(1)(layers.Concatenate()(tensors)))
    if way == "layer":
        model.compile("sgd", "mse")
        return model
    model = kp.models.HiddenOutputs(model, hidden=["a", "b"])
    model.compile("sgd", "mse", hidden_losses=penalties)
    return model


def spoiled(value):
    x = [np.ones((4, 3), "float32"), np.ones((4, 3), "float32")]
    x[0][1, 2] = value
    return x, np.zeros((4, 1), "float32")


@pytest.mark.parametrize("way", ["layer", "compiled"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_not_finite_is_seen_by_name(way, value):
    """Of a spoiled input and of an exploding layer, whose squares are more than float32 holds."""
    x, y = spoiled(value)
    logs = model_of(way).evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    assert not np.isfinite(logs["a_loss"])
    assert float(logs["b_loss"]) == pytest.approx(0.1 * 4 * 3.0**2)
    assert not np.isfinite(logs["loss"])


@pytest.mark.parametrize("way", ["layer", "compiled"])
def test_a_target_waits_until_it_can_see(way):
    target = kp.schedules.Target(1.0, rate=0.5, initial=0.1)
    model = model_of(way, target)
    x, y = spoiled(np.nan)
    history = model.fit(x, y, batch_size=4, epochs=2, verbose=0).history
    assert history["a_loss_strength"] == pytest.approx([0.1, 0.1])
    x, y = spoiled(1.0)
    history = model.fit(x, y, batch_size=4, epochs=2, verbose=0).history
    assert history["a_loss_strength"][1] > history["a_loss_strength"][0] >= 0.1


def test_training_ends_where_keras_is_asked_to_end_it():
    x, y = spoiled(np.nan)
    callbacks = [keras.callbacks.TerminateOnNaN()]
    history = model_of("compiled").fit(x, y, batch_size=4, epochs=5, verbose=0, callbacks=callbacks).history
    assert len(history["loss"]) == 1


FULL = """
import resource, signal
import keras, numpy as np
from pathlib import Path
from tests.test_faults import model_of
path = Path({path!r})
model = model_of("compiled")
model.save(path)
before = path.read_bytes()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))
try:
    model.save(path)
except OSError as error:
    print(error)
assert path.read_bytes() == before
assert [p.name for p in path.parent.iterdir()] == [path.name]
keras.models.load_model(path)
"""


@pytest.mark.default_backend_only
def test_a_full_disk_leaves_the_file_that_was_there(tmp_path):
    assert "too large" in fresh_process(FULL.format(path=str(tmp_path / "model.keras")))


def test_saving_again_replaces_the_file(tmp_path):
    model, path = model_of("compiled"), tmp_path / "model.keras"
    model.save(path)
    model.model.get_layer("a").bias.assign(np.full(4, 3.0))
    model.save(str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]
    again = keras.models.load_model(path)
    np.testing.assert_array_equal(again.model.get_layer("a").get_weights()[1], np.full(4, 3.0))
