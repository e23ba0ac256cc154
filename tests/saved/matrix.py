"""The saved files on other releases of Keras and other backends, as a table.

`python -m tests.saved.matrix [FOLDER ...]`, where each folder holds another Keras, put there by
`pip install --no-deps --target FOLDER "keras==3.13.*"`. Where a JSON line is asked for, `--here`
loads the files in this process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")


def here():
    """How many files there are, how many give their number, and the largest relative difference."""
    import keras

    from tests import test_saved

    differences = []
    for file in test_saved.FILES:
        written = test_saved.record(file)
        differences.append(largest(test_saved.again(file, written), written))
    equal = sum(difference <= 1e-5 for difference in differences)
    return {
        "keras": keras.__version__,
        "files": len(differences),
        "equal": equal,
        "largest": max(differences),
    }


def largest(found, written):
    """The largest difference of any number of the logs, relative to it where it is above 0.1."""
    assert all(set(found[part]) == set(written[part]) for part in found)
    return max(
        abs(found[part][key] - value) / max(abs(value), 0.1)
        for part in found
        for key, value in written[part].items()
    )


def elsewhere(folder, backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if folder:
        environment["PYTHONPATH"] = str(Path(folder).resolve())
    command = [sys.executable, "-m", "tests.saved.matrix", "--here"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    return json.loads(run.stdout.splitlines()[-1]) if run.returncode == 0 else {"error": run.stderr[-2000:]}


def main(folders):
    from rich.console import Console
    from rich.table import Table

    table = Table("Keras", "backend", "files", "equal to 1e-5", "largest difference")
    for folder in [*folders, None]:
        for backend in BACKENDS:
            found = elsewhere(folder, backend)
            if "error" in found:
                raise SystemExit(found["error"])
            counts = str(found["files"]), str(found["equal"]), f"{found['largest']:.1e}"
            table.add_row(found["keras"], backend, *counts)
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:] == ["--here"]:
        print(json.dumps(here()))
    else:
        main(sys.argv[1:])
