"""Loading a file that an attacker made, or that a disk spoiled, runs nothing and fails in words."""

import copy
import json

import keras
import pytest
from hypothesis import given, settings

from tests.campaigns.hostile import GUARD, load
from tests.campaigns.hostile_files import (
    BAITS,
    FILES,
    hostile_archives,
    hostile_configs,
    members_of,
    parent_of,
    zipped,
)

pytestmark = pytest.mark.default_backend_only
BY_NAME = {file.stem: file for file in FILES}

# Where this package makes an object of what the file holds: a file and the path in its config.
DOORS = {
    "strength of a penalty": ("Cyclical", "config", "layers", 2, "config", "penalty", "config", "strength"),
    "penalty of a layer": ("Cyclical", "config", "layers", 2, "config", "penalty"),
    "activity regularizer": ("L2", "config", "layers", 3, "config", "activity_regularizer"),
    "wrapped model": ("HiddenOutputs", "config", "model"),
    "hidden loss": ("Center", "compile_config", "hidden_losses", 0, 1),
    "joint loss": ("Center", "compile_config", "joint_loss"),
    "encoder": ("Siamese", "config", "encoder"),
    "distance": ("Siamese", "config", "distance"),
    "raw loss": ("AntiPiracy", "config", "raw_loss"),
    "transform": ("AntiPiracy", "config", "transform"),
    "layer with penalties inside": ("inside-subclassed", "config", "layer"),
    "block with penalties inside": ("inside-blocks", "config", "layers", 1, "config", "layer"),
    "penalty inside": ("inside-subclassed", "config", "penalties", 0, "penalty"),
    "dtype of a loss": ("Huber", "compile_config", "loss", "config", "dtype"),
}
DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}, "registered_name": None}
PENALTY = {
    "module": "keras_penalties.regularizers",
    "class_name": "L2",
    "config": {"strength": 1.0},
    "registered_name": "keras_penalties>L2",
}


@settings(max_examples=60)
@given(hostile_configs())
def test_a_damaged_config(case):
    load(case[1])


@settings(max_examples=40)
@given(hostile_archives())
def test_a_damaged_archive(case):
    load(case[1])


def with_bait(door, bait):
    return with_value(*DOORS[door], value=bait)


def with_value(name, *place, value):
    """The file called `name`, in which `value` is at a place of its config."""
    members = members_of(BY_NAME[name])
    config = json.loads(members["config.json"])
    parent = parent_of(config, place)
    assert place[-1] in parent or isinstance(parent, list), (name, place, parent)
    parent[place[-1]] = copy.deepcopy(value)
    return zipped(members | {"config.json": json.dumps(config).encode()})


@pytest.mark.parametrize("door", DOORS)
def test_no_door_of_this_package_lets_code_in(door):
    for bait in BAITS:
        load(with_bait(door, bait))


INSIDE = ("inside-subclassed", "config", "penalties")
REQUEST = (*INSIDE, 0)
WRONG = {
    "no list": (INSIDE, 3),
    "a dict": (INSIDE, {"steps": []}),
    "no request": (REQUEST, None),
    "text for a request": (REQUEST, "canary"),
    "no steps": ((*REQUEST, "steps"), None),
    "steps that are text": ((*REQUEST, "steps"), "canary"),
    "steps of numbers": ((*REQUEST, "steps"), [1, 2]),
    "steps of dicts": ((*REQUEST, "steps"), [[{"a": 1}]]),
    "steps to a class": ((*REQUEST, "steps"), [["__class__"], ["__init__"]]),
    "steps to a method": ((*REQUEST, "steps"), [["block"], ["call"]]),
    "steps that lead elsewhere": ((*REQUEST, "steps"), [["block"], ["..", 0]]),
    "steps to a list": ((*REQUEST, "steps"), [["block"], ["others", 10**9]]),
    "many steps": ((*REQUEST, "steps"), [["block"]] * 100_000),
    "a use that is text": ((*REQUEST, "use"), "canary"),
    "a huge use": ((*REQUEST, "use"), 10**30),
    "no part": ((*REQUEST, "part"), None),
    "a part of three": ((*REQUEST, "part"), ["output", 0, 0]),
    "an unknown part": ((*REQUEST, "part"), ["canary", 0]),
    "a part that is a list": ((*REQUEST, "part"), [["output"], 0]),
    "a negative index": ((*REQUEST, "part"), ["output", -1]),
    "an index that is text": ((*REQUEST, "part"), ["output", "0"]),
    "an index of a preactivation": ((*REQUEST, "part"), ["preactivation", 1]),
    "preactivation of what has none": ((*INSIDE, 1, "steps"), [["block"]]),
    "no penalty": ((*REQUEST, "penalty"), None),
    "a function for a penalty": ((*REQUEST, "penalty"), "l2"),
    "a layer for a penalty": ((*REQUEST, "penalty"), DENSE),
    "a mask that is a number": ((*REQUEST, "mask_from"), 3),
    "a mask that is a list": ((*REQUEST, "mask_from"), ["inputs"]),
    "an unknown mask": ((*REQUEST, "mask_from"), "canary"),
    "no layer": (("inside-subclassed", "config", "layer"), None),
    "a number for a layer": (("inside-subclassed", "config", "layer"), 3),
    "a penalty for a layer": (("inside-subclassed", "config", "layer"), PENALTY),
    "a class for a layer": (("inside-subclassed", "config", "layer"), "canary"),
}


@pytest.mark.every_case
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_place_of_a_penalty_is_refused(wrong):
    place, value = WRONG[wrong]
    assert load(with_value(*place, value=value)).startswith("keras_penalties: ")


def test_the_guard_sees_code_that_runs(tmp_path):
    """The same file, loaded as its reader says that it is safe."""
    path = tmp_path / "file.keras"
    bait = next(bait for bait in BAITS if bait["class_name"] == "Lambda")
    path.write_bytes(with_bait("transform", bait))
    GUARD.seen.clear()
    GUARD.active = True
    try:
        with pytest.raises(NotImplementedError, match="Lambda"):  # its code failed: there is no canary
            keras.models.load_model(path, safe_mode=False)
    finally:
        GUARD.active = False
    assert any(event == "import" for event, _ in GUARD.seen)
    with pytest.raises(AssertionError, match="more than"):
        load(with_bait("transform", bait), seconds=0)
