"""Write what is missing among the saved files of this release: `python -m tests.saved.write`.

An existing file is never written again: it represents the files that users have.
Run it on the oldest Keras that is supported, whose files the later ones read.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

import keras_penalties as kp
from tests.saved.cases import CASES

FOLDER = Path(__file__).parent


def batches(data):
    """Nested data as lists, for JSON."""
    return keras.tree.map_structure(lambda array: np.asarray(array).tolist(), data)


def measured(model, x, y):
    logs = model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    return {key: float(value) for key, value in logs.items()}


def trained(model, x, y):
    history = model.fit(x, y, batch_size=4, epochs=1, shuffle=False, verbose=0).history
    return {key: float(values[-1]) for key, values in history.items()}


def write(name, folder):
    keras.utils.set_random_seed(0)
    case = CASES[name]()
    trained(case.model, case.x, case.y)
    case.model.save(folder / f"{name}.keras")
    record = {"keras": keras.__version__, "x": batches(case.x), "y": batches(case.y)}
    record["evaluate"] = measured(case.model, case.x, case.y)
    if case.moves:
        record["fit"] = trained(case.model, case.x, case.y)
    (folder / f"{name}.json").write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    folder = FOLDER / kp.__version__
    folder.mkdir(exist_ok=True)
    for name in sys.argv[1:] or CASES:
        if not (folder / f"{name}.keras").exists():
            write(name, folder)
            print(f"{name}.keras", (folder / f"{name}.keras").stat().st_size)
