"""Every penalty: its config is plain JSON under a stable name, and brings the same penalty back."""

import json

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.contracts import PENALTIES

pytestmark = pytest.mark.parametrize("case", PENALTIES, ids=lambda case: case.name)


def test_config_survives_json(case):
    penalty = case.make()
    config = json.loads(json.dumps(penalty.get_config(), allow_nan=False))
    assert config == penalty.get_config()
    again = type(penalty).from_config(config)
    assert type(again) is type(penalty)
    assert again.get_config() == config


def test_config_holds_what_was_given(case):
    config = case.make().get_config()
    assert {**case.options, **case.strengths}.items() <= config.items()


@pytest.mark.parametrize("through", ["saving", "regularizers"])
def test_serialized_and_back(case, through):
    penalty = case.make()
    if through == "saving":
        saved = json.loads(json.dumps(keras.saving.serialize_keras_object(penalty)))
        again = keras.saving.deserialize_keras_object(saved)
    else:
        saved = json.loads(json.dumps(keras.regularizers.serialize(penalty)))
        again = keras.regularizers.get(saved)
    assert type(again) is case.cls
    assert again.get_config() == penalty.get_config()
    x = case.draw((4, 3))
    np.testing.assert_array_equal(float(again.measure(x)), float(penalty.measure(x)))


def test_saved_name(case):
    saved = keras.saving.serialize_keras_object(case.make())["registered_name"]
    package = "keras_penalties" if case.cls.__name__ in kp.regularizers.__all__ else "own_project"
    assert saved == f"{package}>{case.cls.__name__}"
    assert keras.saving.get_registered_object(saved) is case.cls


def test_is_a_regularizer_of_keras(case):
    assert isinstance(case.make(), keras.regularizers.Regularizer)
    assert isinstance(case.make(), kp.regularizers.Penalty)
