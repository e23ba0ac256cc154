"""The saved files on other releases of Keras and other backends, as a table.

`python -m tests.saved.matrix [FOLDER ...]`, where each folder holds another Keras, put there by
`pip install --no-deps --target FOLDER "keras==3.13.*"`.
"""

import json
import sys
from pathlib import Path

from tests.support.helpers import ROOT, fresh_process

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
    assert all(set(written[part]) <= set(found[part]) for part in found)  # a later release may show more
    return max(
        abs(found[part][key] - value) / max(abs(value), 0.1)
        for part in found
        for key, value in written[part].items()
    )


def elsewhere(folder, backend):
    """`here`, in another process: on another Keras, if there is a folder with one, and on that backend."""
    path = [*([Path(folder).resolve()] if folder else []), ROOT]
    code = "import json\nfrom tests.saved import matrix\nprint(json.dumps(matrix.here()))"
    return json.loads(fresh_process(code, backend=backend, path=path).splitlines()[-1])


def main(folders):
    from rich.console import Console
    from rich.table import Table

    table = Table("Keras", "backend", "files", "equal to 1e-5", "largest difference")
    for folder in [*folders, None]:
        for backend in BACKENDS:
            found = elsewhere(folder, backend)
            counts = str(found["files"]), str(found["equal"]), f"{found['largest']:.1e}"
            table.add_row(found["keras"], backend, *counts)
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
