"""What a user sees with a release of Keras in which a private part has another name."""

import json

import keras
import pytest

from keras_penalties._keras import private
from keras_penalties._keras.parts import PARTS
from keras_penalties._keras.private_part import TESTED
from tests.support.helpers import BACKEND, fresh_process

LAYER = "keras.src.layers.layer.Layer"


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.where)
def test_error(part):
    text = str(private.MissingPart(part))
    assert f"`{part.where}`" in text and part.use in text
    assert f"from {TESTED[0]} to {TESTED[1]}" in text
    if part.where.startswith("keras."):
        assert text.startswith(f"keras {keras.__version__} has no ")


# A hook that Keras calls; a class that is subclassed, asked for in `isinstance` or called; a function.
CASES = {
    f"{LAYER}._get_own_losses": "kp.layers.ActivityPenalty(kp.regularizers.L2(0.1))",
    f"{LAYER}._clear_losses": "kp.layers.ActivityPenalty(kp.regularizers.L2(0.1))",
    "keras.src.trainers.trainer.Trainer._aggregate_additional_loss": (
        "kp.models.HiddenOutputs(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))"
    ),
    "keras.src.saving.keras_saveable.KerasSaveable._obj_type": (
        "kp._keras.saving.PartsOf(keras.layers.Dense(1))"
    ),
    "keras.src.trainers.compile_utils.MetricsList": (
        "kp.layers.ActivityPenalty(kp.regularizers.L2(0.1), name='small')"
    ),
    "keras.src.models.functional.Functional": (
        "kp.penalize(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name='a')]),"
        " {'a': kp.regularizers.L2(0.1)})"
    ),
    "keras.src.utils.python_utils.is_default": "kp._keras.layers.has_build(keras.layers.Dense)",
    "keras.src.losses.loss.reduce_weighted_values": "kp._keras.losses.mean_of_values(np.ones(3, 'float32'))",
}


MEASURE = "print(float(kp.regularizers.L2(0.1).measure(np.ones((2, 3), 'float32'))))"

RENAMED = """
import importlib, json, sys
import keras, numpy as np
for where, code in json.loads(sys.stdin.read()):
    path, _, name = where.rpartition(".")
    module = path if path.rpartition(".")[2].islower() else path.rpartition(".")[0]
    owner = importlib.import_module(module)
    owner = owner if module == path else getattr(owner, path.rpartition(".")[2])
    part = vars(owner)[name]
    delattr(owner, name)
    for loaded in [name for name in sys.modules if name.startswith("keras_penalties")]:
        del sys.modules[loaded]
    import keras_penalties as kp
    try:
        exec(code)
    except RuntimeError as error:
        print(error)
    setattr(owner, name, part)
"""


@pytest.fixture(scope="module")
def printed():
    """What each case prints, in a process in which the part has no name."""
    cases = [*CASES.items(), (f"{LAYER}._get_own_losses", MEASURE)]
    lines = fresh_process(RENAMED, stdin=json.dumps(cases)).splitlines()
    assert len(lines) == len(cases)
    return lines


@pytest.mark.parametrize("where", CASES)
def test_renamed_part(where, printed):
    part = next(part for part in PARTS if part.where == where)
    assert printed[list(CASES).index(where)] == str(private.MissingPart(part))


def test_a_renamed_hook_breaks_no_other_penalty(printed):
    assert printed[-1] == "3.0"


ATTRIBUTES = [part for part in PARTS if part.where in (f"{LAYER}._layers", f"{LAYER}._tracker")]


@pytest.mark.parametrize("part", ATTRIBUTES, ids=lambda part: part.name)
def test_renamed_attribute(part, monkeypatch):
    layer, look = keras.layers.Dense(1), getattr

    def without(obj, name, *default):
        if obj is layer and name == part.name:
            raise AttributeError(name)
        return look(obj, name, *default)

    monkeypatch.setattr(private, "getattr", without, raising=False)
    monkeypatch.setattr(private, "hasattr", lambda obj, name: False, raising=False)
    with pytest.raises(private.MissingPart, match=rf"`{part.where}`"):
        private.of(layer, part.name)
    with pytest.raises(private.MissingPart, match=rf"`{part.where}`"):
        private.put(layer, part.name, [])


def test_an_error_within_a_part_is_not_taken_for_a_missing_part():
    class Broken(keras.layers.Layer):
        @property
        def _tracked_by_me(self):
            return (1).real.imaginary

    # PyTorch's modules name the attribute itself.
    with pytest.raises(AttributeError, match="_tracked_by_me" if BACKEND == "torch" else "imaginary"):
        private.of(Broken(), "_tracked_by_me")
