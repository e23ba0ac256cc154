"""What an earlier release saved loads, and gives the number that it gave then.

The files are in `tests/saved/<release>/`; `tests/saved/write.py` says how they were made.
"""

import json
import zipfile

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.contracts import BASES
from tests.saved.write import FOLDER, measured, trained
from tests.support.helpers import fresh_process

FILES = sorted(FOLDER.glob("*/*.keras"))
RELEASES = sorted({file.parent for file in FILES})


def arrays(data):
    """Lists of JSON, in dicts or not, as arrays; lists of arrays stay lists."""
    if isinstance(data, dict):
        return {key: arrays(value) for key, value in data.items()}
    array = np.asarray(data)
    return array.astype("float32") if array.dtype.kind == "f" else array


def record(file):
    return json.loads(file.with_suffix(".json").read_text())


def inputs(model, x):
    """Several inputs are a list of arrays, which is an array more in JSON."""
    x = arrays(x)
    return list(x) if isinstance(model, kp.models.Siamese) else x


def again(file, written):
    """What the file gives now, by the names of its record."""
    model = keras.models.load_model(file)
    x, y = inputs(model, written["x"]), arrays(written["y"])
    found = {"evaluate": measured(model, x, y)}
    return found | {"fit": trained(model, x, y)} if "fit" in written else found


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_gives_the_number_it_gave(file):
    written = record(file)
    for part, logs in again(file, written).items():
        # A later release may show more, under keys of its own.
        found = {key: logs.get(key) for key in written[part]}
        assert found == pytest.approx(written[part], rel=1e-5, abs=1e-6)


def registered_names(config):
    """Every class and function of this package that a config names."""
    if isinstance(config, dict):
        own = {config["registered_name"]} if config.get("registered_name") else set()
        return own.union(*map(registered_names, config.values()))
    if isinstance(config, list):
        return set().union(*map(registered_names, config))
    return set()


@pytest.mark.parametrize("release", RELEASES, ids=lambda folder: folder.name)
def test_names_of_a_release_are_known(release):
    assert (release / "L2.keras").exists()
    for file in release.glob("*.keras"):
        for name in registered_names(config_of(file)):
            if name.startswith("keras_penalties>"):
                assert keras.saving.get_registered_object(name) is not None, (file.name, name)


def config_of(file):
    with zipfile.ZipFile(file) as archive:
        return json.loads(archive.read("config.json"))


def test_every_class_is_in_a_file_of_this_release():
    found = set()
    for file in (FOLDER / kp.__version__).glob("*.keras"):
        found |= registered_names(config_of(file))
    bases = {cls.__name__ for cls in BASES}
    exported = {
        f"keras_penalties>{name}"
        for namespace in (kp.regularizers, kp.layers, kp.losses, kp.models, kp.schedules)
        for name in set(namespace.__all__) - bases
        if isinstance(getattr(namespace, name), type)
    }
    assert exported - found == set(), "write them: python -m tests.saved.write"


def test_a_file_says_what_is_missing_where_the_package_is_not_imported():
    file = FOLDER / kp.__version__ / "L2.keras"
    load = f"import keras\nkeras.models.load_model({str(file)!r})"
    with pytest.raises(AssertionError, match="Could not locate class 'ActivityPenalty'|keras_penalties"):
        fresh_process(load)
    fresh_process(f"import keras_penalties\n{load}")
