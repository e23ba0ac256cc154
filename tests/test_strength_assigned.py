"""A strength that is assigned by hand: training and the saved file hold the same, or it is refused."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.support.ways import WAYS, added, attach

R = kp.regularizers
Decay = keras.optimizers.schedules.PolynomialDecay
ROWS = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")


def loss_of(way, model, compiled):
    """What an evaluation adds to the loss, where the rest of the loss is 0."""
    model.compile("sgd", loss=None if way == "compiled" else _zero, **compiled)
    y = np.zeros((6, 2), "float32")
    return float(model.evaluate(ROWS, y, batch_size=6, verbose=0, return_dict=True)["loss"])


@keras.saving.register_keras_serializable("test_strength_assigned")
def _zero(y_true, y_pred):
    return keras.ops.sum(y_pred * 0.0, axis=-1)


def saved(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("way", WAYS)
def test_a_number_is_used_and_saved_once_the_model_is_compiled_again(way, tmp_path):
    penalty = R.L2(0.25)
    model, compiled = attach(way, penalty)
    before = loss_of(way, model, compiled)
    penalty.strength = 1.0
    after = loss_of(way, model, compiled)
    np.testing.assert_allclose([before, after], [added(way, R.L2(s), ROWS) for s in (0.25, 1.0)], rtol=1e-5)
    again = saved(model, tmp_path)
    y = np.zeros((6, 2), "float32")
    logs = again.evaluate(ROWS, y, batch_size=6, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["loss"], after, rtol=1e-6)


@pytest.mark.parametrize("way", ["layer", "name", "compiled"])
@pytest.mark.parametrize(
    ("moving", "other", "first"),
    [
        (Decay(0.1, 4, 0.2), Decay(0.7, 4, 0.2), 0.7),
        (
            kp.schedules.Target(1e6, initial=0.3, damping=0.0),
            kp.schedules.Target(1e6, maximum=0.2, damping=0.0),
            0.3,
        ),
    ],
)
def test_one_that_moves_is_used_and_saved(way, moving, other, first, tmp_path):
    """An adapted strength continues from its value, within the bounds of its new target."""
    penalty = R.L2(moving)
    model, compiled = attach(way, penalty)
    penalty.strength = other
    value = loss_of(way, model, compiled)
    if way == "compiled" and isinstance(other, kp.schedules.Target):
        first = other.initial  # what a `HiddenOutputs` keeps begins again when it is compiled again
    np.testing.assert_allclose(value, first * added(way, R.L2(1.0), ROWS), rtol=1e-5)
    y = np.zeros((6, 2), "float32")
    model.fit(ROWS, y, verbose=0)
    again = saved(model, tmp_path)
    key = next(key for key in again.metrics_names if key.endswith("_strength"))
    strengths = [m.evaluate(ROWS, y, verbose=0, return_dict=True)[key] for m in (model, again)]
    expected = 0.2 if isinstance(other, kp.schedules.Target) else float(other(1))
    if way == "compiled" and isinstance(other, kp.schedules.Target):
        expected = other.initial * np.exp(-other.rate)
    np.testing.assert_allclose(strengths, [expected] * 2, rtol=1e-5)


def test_without_compilation_an_eager_step_sees_it_at_once():
    layer = kp.layers.ActivityPenalty(R.L1(0.5), name="quiet")
    for strength in (0.5, 2.0):
        layer.penalty.strength = strength
        layer(ROWS)
        np.testing.assert_allclose(float(layer.losses[0]), strength * np.abs(ROWS).sum() / 6, rtol=1e-5)


@pytest.mark.parametrize("value", [-1.0, np.inf, np.nan, "0.1", None, Decay(-1.0, 4, 0.2)])
def test_what_is_no_strength_is_refused(value):
    layer = kp.layers.ActivityPenalty(R.L1(0.5))
    with pytest.raises((TypeError, ValueError), match="`strength` of L1"):
        layer.penalty.strength = value
    assert layer.penalty.strength == 0.5


KINDS = {
    "a number": 0.5,
    "a schedule": Decay(0.1, 4, 0.2),
    r"a `keras_penalties.schedules.Target`": kp.schedules.Target(1.0),
}


@pytest.mark.parametrize("before", KINDS)
@pytest.mark.parametrize("after", KINDS)
def test_one_of_another_kind_is_refused_once_a_layer_owns_the_penalty(before, after):
    penalty = R.L1(KINDS[before])
    penalty.strength = KINDS[after]
    penalty.strength = KINDS[before]
    layer = kp.layers.ActivityPenalty([penalty, "l2"])
    if before == after:
        layer.penalty[0].strength = KINDS[after]
        return
    with pytest.raises(ValueError, match=f"`strength` of this L1 must stay {before}"):
        layer.penalty[0].strength = KINDS[after]
    assert penalty.strength is KINDS[before]


def test_an_argument_refuses_a_strength_that_moves():
    dense = keras.layers.Dense(2, activity_regularizer=R.L1(0.5))
    dense.activity_regularizer.strength = Decay(0.1, 4, 0.2)
    with pytest.raises(TypeError, match="L1 has a strength that changes"):
        dense(ROWS)


def test_the_penalty_of_a_layer_cannot_be_replaced():
    layer = kp.layers.ActivityPenalty(R.L1(0.5), name="quiet")
    with pytest.raises(AttributeError, match="`penalty` of the ActivityPenalty 'quiet' cannot be replaced"):
        layer.penalty = R.L2(0.5)
    assert isinstance(layer.penalty, R.L1)
    layer = kp.layers.ActivityPenalty([R.L1(0.5)])
    layer.penalty.append(R.L2(0.5))
    assert len(layer.penalty) == 1 == len(layer.get_config()["penalty"])


def test_an_axis_is_kept_once():
    penalty = R.DeCov(0.1)
    penalty.axis = 1
    x = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("float32")
    np.testing.assert_allclose(float(penalty.measure(x)), float(R.DeCov(0.1, axis=1).measure(x)))
    assert penalty.get_config()["axis"] == 1


def test_a_layer_shows_the_name_that_it_has():
    inputs = keras.Input((3,))
    layer = kp.layers.ActivityPenalty(R.L1(0.5), name="quiet")
    model = keras.Model(inputs, layer(inputs))
    layer.name = "loud"
    model.compile(loss="mse")
    assert set(model.evaluate(ROWS, ROWS, verbose=0, return_dict=True)) == {"loss", "loud"}
