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
    "dtype of a loss": ("Huber", "compile_config", "loss", "config", "dtype"),
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
    name, *place = DOORS[door]
    members = members_of(BY_NAME[name])
    config = json.loads(members["config.json"])
    parent = parent_of(config, place)
    assert place[-1] in parent or isinstance(parent, list), (door, parent)
    parent[place[-1]] = copy.deepcopy(bait)
    return zipped(members | {"config.json": json.dumps(config).encode()})


@pytest.mark.parametrize("door", DOORS)
def test_no_door_of_this_package_lets_code_in(door):
    for bait in BAITS:
        load(with_bait(door, bait))


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
