"""Every penalty: a bad strength is refused where it is given, in words that help."""

import json
import re

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.contracts import PENALTIES

MOVING = [
    keras.optimizers.schedules.PolynomialDecay(0.0, 10, 0.1),
    kp.schedules.Cyclical(0.1, 10),
    kp.schedules.Target(2.0),
]

pytestmark = pytest.mark.parametrize("case", PENALTIES, ids=lambda case: case.name)


@pytest.mark.parametrize("bad", [-1.0, -1, -1e-9, float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_no_strength(case, bad):
    for argument in case.strengths:
        words = f"`{argument}` of {case.cls.__name__} must be a finite number >= 0. "
        with pytest.raises(ValueError, match=re.escape(f"{words}Received: {argument}={float(bad)!r}")):
            case.make(**{argument: bad})


@pytest.mark.parametrize("bad", ["0.1", None, True, [0.1], {"a": 1}, 1j, np.ones(2)], ids=repr)
def test_not_a_number(case, bad):
    for argument in case.strengths:
        words = rf"`{argument}` of {case.cls.__name__} must be a finite number >= 0"
        with pytest.raises(TypeError, match=rf"(?s){words}.*Received.*{type(bad).__name__}"):
            case.make(**{argument: bad})


def test_a_function(case):
    for argument in case.strengths:
        with pytest.raises(TypeError, match=rf"`{argument}` of {case.cls.__name__} must be .*function"):
            case.make(**{argument: lambda step: 0.1})


@pytest.mark.parametrize("moving", MOVING, ids=lambda moving: type(moving).__name__)
def test_a_strength_that_moves(case, moving):
    if case.in_measure:
        for argument in case.strengths:
            words = (
                rf"(?s)`{argument}` of {case.cls.__name__} must be a finite number.*{type(moving).__name__}"
            )
            with pytest.raises(TypeError, match=words):
                case.make(**{argument: moving})
        return
    penalty = case.make(strength=moving)
    assert penalty.strength is moving
    again = keras.saving.deserialize_keras_object(
        json.loads(json.dumps(keras.saving.serialize_keras_object(penalty)))
    )
    assert again.get_config() == penalty.get_config()
    assert again.strength.get_config() == moving.get_config()
    words = f"{case.cls.__name__} has a strength that changes"
    with pytest.raises(TypeError, match=rf"(?s){words} .*ActivityPenalty"):
        penalty(case.draw((5, 4)))


def test_any_real_number_will_do(case):
    for good in (0, 0.0, 1, 2.5, np.float32(0.5), np.float64(0.5), np.int64(3)):
        penalty = case.make(**dict.fromkeys(case.strengths, good))
        for argument in case.strengths:
            kept = getattr(penalty, argument)
            assert type(kept) is float
            assert kept == float(good)
