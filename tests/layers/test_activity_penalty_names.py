"""The names of penalties in the logs: each once, none that Keras uses, and each with a direction."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import keras_penalties as kp
from tests.layers.networks import compiled, data
from tests.support import references

R = kp.regularizers
NAMES = ["quiet", "quiet_1", "mae", "mse", "total", "quiet_strength", "main_loss", "hidden_loss"]

CALLBACKS = {
    "early stopping": lambda monitor, file: keras.callbacks.EarlyStopping(monitor, patience=1),
    "plateau": lambda monitor, file: keras.callbacks.ReduceLROnPlateau(monitor, patience=1),
    "checkpoint": lambda monitor, file: keras.callbacks.ModelCheckpoint(
        file, monitor, save_best_only=True, save_weights_only=True
    ),
}


class Block(layers.Layer):
    """A layer with penalties inside, which are called one after another."""

    def __init__(self, penalties, **kwargs):
        super().__init__(**kwargs)
        self.penalties = list(penalties)

    def call(self, x, training=None):
        for penalty in self.penalties:
            x = penalty(x, training=training)
        return x


def quiet(name="quiet", strength=0.1):
    return kp.layers.ActivityPenalty(R.L2(strength), name=name)


def of(*stack):
    inputs = h = keras.Input((3,))
    for layer in stack:
        h = layer(h)
    return keras.Model(inputs, h)


def evaluated(model, x, **options):
    compiled(model, **options)
    return model.evaluate(x, x, batch_size=len(x), verbose=0, return_dict=True)


def test_blocks_that_name_their_penalties_alike_are_numbered():
    x, _ = data(6)
    model = of(*(Block([quiet(strength=s)], name=f"block_{i}") for i, s in enumerate((0.1, 0.2, 0.3))))
    logs = evaluated(model, x)
    expected = {f"quiet{end}": s * references.l2(x) for end, s in (("", 0.1), ("_1", 0.2), ("_2", 0.3))}
    assert set(logs) == {"loss", *expected}
    for key, value in {**expected, "loss": 0.6 * references.l2(x)}.items():
        np.testing.assert_allclose(logs[key], value, rtol=1e-5, err_msg=key)
    assert [m.name for m in model.metrics][1:] == [*expected]  # each is there once


def test_the_logs_of_two_models_with_one_name_are_not_numbered():
    x, _ = data(6)
    one, other = of(quiet()), of(quiet(strength=0.2))
    both = of(one, other)
    for _ in range(2):
        assert set(evaluated(one, x)) == set(evaluated(other, x)) == {"loss", "quiet"}
        assert set(evaluated(both, x)) == {"loss", "quiet", "quiet_1"}


def test_a_metric_of_the_user_keeps_its_name():
    x, _ = data(6)
    logs = evaluated(of(quiet("mae")), x, metrics=["mae"])
    np.testing.assert_allclose(logs["mae_1"], 0.1 * references.l2(x), rtol=1e-5)
    assert logs["mae"] == 0.0
    inputs = keras.Input((3,))
    a, b = layers.Identity(name="a"), layers.Identity(name="b")
    two = keras.Model(inputs, [a(quiet("a_mae")(inputs)), b(inputs)])
    two.compile(loss="mse", metrics=[["mae"], ["mae"]])
    logs = two.evaluate(x, [x, x], verbose=0, return_dict=True)
    assert "a_mae_1" in logs and logs["a_mae"] == 0.0


def test_a_strength_keeps_the_name_of_its_penalty():
    x, _ = data(6)
    rising = keras.optimizers.schedules.PolynomialDecay(0.1, 4, 0.2)
    blocks = [Block([quiet(strength=rising)]), Block([quiet(strength=rising)]), quiet("quiet_1_strength")]
    assert set(evaluated(of(*blocks), x)) == {
        *("loss", "quiet", "quiet_strength", "quiet_2", "quiet_2_strength", "quiet_1_strength")
    }


def test_inside_of_a_wrapped_model_the_terms_add_up():
    x, _ = data(6)
    stack = [Block([quiet()]), Block([quiet()]), quiet("main_loss"), quiet("h_loss")]
    model = kp.models.HiddenOutputs(of(*stack, layers.Identity(name="h")), hidden=["h"])
    logs = evaluated(model, x, hidden_losses={"h": R.L2(0.5)})
    assert set(logs) == {"loss", "main_loss", "h_loss", "quiet", "quiet_1", "main_loss_1", "h_loss_1"}
    assert logs["main_loss"] == 0.0
    np.testing.assert_allclose(logs["h_loss"], 0.5 * references.l2(x), rtol=1e-5)
    np.testing.assert_allclose(sum(logs.values()) - logs["loss"], logs["loss"], rtol=1e-5)


def test_metrics_names_of_a_wrapped_model_are_those_of_the_logs():
    x, _ = data(6)
    model = kp.models.HiddenOutputs(of(layers.Dense(3, name="h")), hidden=["h"])
    logs = evaluated(model, x, hidden_losses={"h": R.L2(0.5)})
    assert sorted(model.metrics_names) == sorted(logs)


@pytest.mark.slow
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=5),
    depths=st.lists(st.integers(0, 2), min_size=5, max_size=5),
    wrapped=st.booleans(),
)
def test_whatever_the_names_are_the_terms_add_up(names, depths, wrapped):
    """Names drawn at random, each of a penalty that is inside of so many blocks or models."""
    x, strengths = data(4)[0], [0.1 * 2**i for i in range(len(names))]
    stack = []
    for i, (name, depth) in enumerate(zip(names, depths, strict=False)):
        layer = quiet(name, strengths[i])
        for level in range(depth):
            layer = of(layer) if (i + level) % 2 else Block([layer], name=f"block_{i}_{level}")
        clash = depth == 0 and any(getattr(other, "name", "") == name for other in stack)
        stack.append(Block([layer], name=f"around_{i}") if clash else layer)
    model = of(*stack, layers.Identity(name="hidden"))
    model = kp.models.HiddenOutputs(model, hidden=["hidden"]) if wrapped else model
    terms = {"hidden_losses": {"hidden": R.L2(7.0)}} if wrapped else {}
    logs = evaluated(model, x, metrics=["mae", "mse"], **terms)
    values = sorted(value for key, value in logs.items() if key not in ("loss", "mae", "mse"))
    of_ours = [s * references.l2(x) for s in [*strengths, *([0.0, 70.0] if wrapped else [])]]
    np.testing.assert_allclose(
        values, sorted(v if v < 60 else 7.0 * references.l2(x) for v in of_ours), rtol=1e-5
    )
    np.testing.assert_allclose(sum(values), logs["loss"], rtol=1e-5)


@pytest.mark.parametrize("name", ["loss", "val_quiet", "learning_rate", "epoch"])
def test_names_that_keras_uses_are_refused(name):
    with pytest.raises(ValueError, match=rf"`name` of ActivityPenalty gives the key '{name}' in the logs"):
        quiet(name)


def test_a_hidden_tensor_cannot_be_named_as_if_it_were_of_the_validation():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Identity(name="val_h")(inputs))
    wrapped = kp.models.HiddenOutputs(model, hidden=["val_h"])
    with pytest.raises(ValueError, match="`hidden` of HiddenOutputs gives the key 'val_h_loss'"):
        wrapped.compile("sgd", "mse", hidden_losses={"val_h": R.L2(0.1)})
    penalized = kp.penalize(model, {"val_h": R.L2(0.1)})
    assert [layer.name for layer in penalized.layers[-1].activity_penalties] == ["layer_val_h_penalty"]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("watch", CALLBACKS)
def test_callbacks_know_that_less_is_better(watch, wrapped, tmp_path):
    """Without `mode`. The penalty grows here, so that the first epoch is the best."""
    x, _ = data(8)
    inputs = keras.Input((3,))
    h = layers.Dense(3, kernel_initializer="identity", name="h")(inputs)
    model = keras.Model(inputs, h if wrapped else quiet(strength=1e-3)(h))
    model = kp.models.HiddenOutputs(model, hidden=["h"]) if wrapped else model
    terms = {"hidden_losses": {"h": R.L2(1e-3)}} if wrapped else {}
    key = "h_loss" if wrapped else "quiet"
    for monitor in (key, f"val_{key}"):
        model.compile(keras.optimizers.SGD(0.5), "mse", **terms)
        callback = CALLBACKS[watch](monitor, tmp_path / "best.weights.h5")
        data_of = {"validation_data": (x, 2 * x)} if monitor != key else {}
        logs = model.fit(x, 2 * x, epochs=4, batch_size=8, verbose=0, callbacks=[callback], **data_of).history
        assert np.all(np.diff(logs[monitor]) > 0)
        if watch == "early stopping":
            assert len(logs[monitor]) == 2
        elif watch == "plateau":
            assert float(model.optimizer.learning_rate) < 0.5
        else:
            assert callback.best == pytest.approx(logs[monitor][0])


def test_a_strength_has_no_direction():
    x, _ = data(8)
    model = compiled(of(quiet(strength=keras.optimizers.schedules.PolynomialDecay(0.1, 4, 0.2))))
    stop = keras.callbacks.EarlyStopping("quiet_strength")
    with pytest.raises(ValueError, match="isn't able to automatically determine"):
        model.fit(x, x, verbose=0, callbacks=[stop])


def test_accuracies_of_a_model_go_up():
    classifier = keras.Sequential([keras.Input((3,)), layers.Dense(2, activation="softmax")])
    model = kp.models.AntiPiracy(classifier, kp.layers.UniversalPerturbation(0.5))
    model.compile(keras.optimizers.SGD(0.0))
    callbacks = [keras.callbacks.EarlyStopping(key, patience=9) for key in ("processed_accuracy", "raw_loss")]
    model.fit(data(8)[0], np.arange(8) % 2, epochs=2, verbose=0, callbacks=callbacks)
    assert [callback.monitor_op is keras.ops.greater for callback in callbacks] == [True, False]
