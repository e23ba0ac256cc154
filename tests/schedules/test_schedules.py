"""The schedules by themselves: their formulas, their files and their errors."""

import json
import math

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from keras_penalties.schedules import _strength
from tests.support.helpers import BACKEND

S = kp.schedules


@pytest.mark.parametrize("options", [{}, {"ratio": 0.3}, {"ratio": 1.0}, {"cycles": 2}])
def test_cyclical_is_its_formula(options):
    schedule = S.Cyclical(0.4, cycle_steps=7, **options)
    ratio, cycles = options.get("ratio", 0.5), options.get("cycles", math.inf)
    for step in range(30):
        share = (step - 7 * math.floor(step / 7)) / 7
        expected = 0.4 * (share / ratio if share < ratio and step < 7 * cycles else 1.0)
        np.testing.assert_allclose(float(schedule(step)), expected, rtol=1e-6, err_msg=str(step))
        counted = keras.ops.convert_to_tensor(step, "int32")
        np.testing.assert_allclose(float(schedule(counted)), expected, rtol=1e-6)


def test_cyclical_is_exact_after_millions_of_steps():
    assert float(S.Cyclical(1.0, cycle_steps=1000)(2**30 + 3)) == float(
        S.Cyclical(1.0, cycle_steps=1000)(827)
    )


def test_cyclical_is_a_schedule_of_an_optimizer():
    optimizer = keras.optimizers.SGD(S.Cyclical(0.4, 4))
    assert float(optimizer.learning_rate) == 0.0


@pytest.mark.parametrize(
    "measured, error",
    [(2.0, 0.0), (3.0, 0.5), (1.0, -0.5), (50.0, 1.0), (0.0, -1.0), (np.inf, 0), (np.nan, 0)],
)
def test_target_is_its_formula(measured, error):
    target = S.Target(2.0, rate=0.2)
    expected = 0.3 * math.exp(0.2 * error)
    np.testing.assert_allclose(float(target.after(0.3, measured)), expected, rtol=1e-6)


@pytest.mark.parametrize("damping", [0.0, 0.5, 4.0])
@pytest.mark.parametrize("error", [-1.0, -0.25, 0.0, 0.8])
def test_target_damps_by_its_formula(damping, error):
    target = S.Target(2.0, damping=damping)
    np.testing.assert_allclose(float(target.damped(0.3, error)), 0.3 * math.exp(damping * error), rtol=1e-6)


def test_target_stays_within_its_bounds():
    target = S.Target(2.0, rate=1.0, initial=0.5, minimum=0.4, maximum=0.6)
    for follows in (target.after, lambda s, measured: target.damped(s, target.error(measured))):
        assert float(follows(0.5, 99.0)) == pytest.approx(0.6)
        assert float(follows(0.5, 0.1)) == pytest.approx(0.4)


def test_a_target_of_an_older_release_is_not_damped():
    config = {"value": 0.5, "rate": 0.1, "initial": 0.001, "minimum": 1e-8, "maximum": 1e4}
    saved = {
        "module": "keras_penalties.schedules._target",
        "class_name": "Target",
        "registered_name": "keras_penalties>Target",
        "config": config,
    }
    target = keras.saving.deserialize_keras_object(saved)
    assert target.get_config() == {**config, "damping": 0.0}
    assert float(target.damped(0.3, 1.0)) == pytest.approx(0.3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(target))
    assert again.damping == 0.0
    assert S.Target(0.5).damping == 4.0


def swings(target, lag, slope, start, steps=1500):
    """How far the measure of a layer goes below a target of 1, and in which step it comes to within 10%.

    The layer's logarithmic measure goes to `start - slope * log(strength)`, by a part `1 / lag` in a step.
    """
    strength, measure, errors = target.initial, start, []
    for _ in range(steps):
        error = max(-1.0, min(1.0, math.exp(measure) - 1.0))
        used = strength * math.exp(target.damping * error)
        measure += (start - slope * math.log(used) - measure) / lag
        strength *= math.exp(target.rate * error)
        errors.append(math.exp(measure) - 1.0)
    outside = [k for k, error in enumerate(errors) if abs(error) > 0.1]
    return -min(errors), outside[-1] + 1 if outside else 0


@pytest.mark.parametrize("lag", [5, 20, 60])
@pytest.mark.parametrize("slope", [0.5, 1.0])
def test_a_target_settles_without_swinging(lag, slope):
    """Layers follow a strength slowly. For comparison, a target without damping, at two rates."""
    below, settled = swings(S.Target(1.0, initial=0.1), lag, slope, start=2.0)
    assert below < 0.1
    assert settled < 300
    slow = swings(S.Target(1.0, rate=0.01, initial=0.1, damping=0.0), lag, slope, start=2.0)
    assert settled < slow[1] / 2
    if lag >= 20:
        swinging = swings(S.Target(1.0, rate=0.05, initial=0.1, damping=0.0), lag, slope, start=2.0)
        assert swinging[0] > 2 * max(below, 0.05)


@pytest.mark.parametrize("made", [S.Cyclical(0.4, 7, 0.3, cycles=2), S.Target(2.0, 0.1, 0.2, 0.1, 9.0, 2.0)])
def test_goes_through_json(made):
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(made)))
    assert saved["registered_name"] == f"keras_penalties>{type(made).__name__}"
    again = keras.saving.deserialize_keras_object(saved)
    assert type(again) is type(made)
    assert again.get_config() == made.get_config()


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: S.Cyclical(-1.0, 5), ValueError, "`strength` of Cyclical must be a finite number >= 0"),
        (lambda: S.Cyclical(1.0, 0), ValueError, "`cycle_steps` of Cyclical must be an int >= 1"),
        (lambda: S.Cyclical(1.0, 2.5), TypeError, "`cycle_steps` of Cyclical must be an int >= 1"),
        (
            lambda: S.Cyclical(1.0, 5, ratio=0.0),
            ValueError,
            "`ratio` of Cyclical must be a finite number > 0",
        ),
        (lambda: S.Cyclical(1.0, 5, ratio=1.5), ValueError, "`ratio` of Cyclical .* <= 1"),
        (lambda: S.Cyclical(1.0, 5, cycles=True), TypeError, "`cycles` of Cyclical must be an int >= 1"),
        (lambda: S.Target(0.0), ValueError, "`value` of Target must be a finite number > 0"),
        (lambda: S.Target("1"), TypeError, "`value` of Target must be a finite number > 0"),
        (lambda: S.Target(1.0, rate=2.0), ValueError, "`rate` of Target .* <= 1"),
        (lambda: S.Target(1.0, damping=-1.0), ValueError, "`damping` of Target must be a finite number >= 0"),
        (lambda: S.Target(1.0, initial=1e9), ValueError, "`initial` of Target .* <= 10000"),
        (lambda: S.Target(1.0, minimum=1.0, maximum=0.5), ValueError, "`maximum` of Target .* >= 1"),
    ],
)
def test_bad_arguments(make, error, words):
    with pytest.raises(error, match=words):
        make()


def compiled(function):
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    return function


@pytest.mark.parametrize("steps", [*range(1, 26), 47, 100])
def test_a_schedule_that_falls_to_zero_ends_at_zero(steps):
    """Compiled, `1 - steps * (1 / steps)` may be rounded to less than 0, which is no negative strength."""
    schedules = [
        keras.optimizers.schedules.PolynomialDecay(1.0, steps, 0.0),
        keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=1.0, warmup_steps=2),
    ]

    def strengths(step):
        return [_strength.at(schedule, step) for schedule in schedules]

    found = compiled(strengths)
    values = [[float(v) for v in found(ops.convert_to_tensor(s, "int32"))] for s in range(steps, steps + 4)]
    assert np.min(values) >= 0
    assert values[0][0] < 1e-6
    assert values[-1][1] < 1e-6
