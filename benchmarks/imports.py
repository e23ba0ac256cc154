"""What `import keras_penalties` takes beyond `import keras`: time of the processor, and memory.

python -m benchmarks.imports
"""

import json
import os
import statistics
import subprocess
import sys

from benchmarks import show

ROUNDS = 7
LINES = {"keras": "import keras", "keras and keras_penalties": "import keras, keras_penalties"}
REPORT = "import resource as r; u = r.getrusage(r.RUSAGE_SELF); print([u.ru_utime + u.ru_stime, u.ru_maxrss])"


def once(line):
    """Seconds and kilobytes of a new process."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    done = subprocess.run([sys.executable, "-c", f"{line}; {REPORT}"], env=environment, check=True, **quiet)
    return json.loads(done.stdout.splitlines()[-1])


def measure_all():
    taken = {name: [] for name in LINES}
    for _ in range(ROUNDS):
        for name, line in LINES.items():
            taken[name].append(once(line))
    without, both = taken.values()
    rows = {}
    for i, unit in enumerate(("seconds", "kilobytes")):
        rows[unit] = {
            "keras": statistics.median(one[i] for one in without),
            "ratio": statistics.median(b[i] / a[i] for a, b in zip(without, both, strict=True)),
        }
    return {"backend": show.backend(), "rows": rows}


def tables(record):
    rows = [[unit, show.number(row["keras"]), f"{row['ratio']:.3f}"] for unit, row in record["rows"].items()]
    yield f"Importing, {record['backend']}", ["", "keras", "with keras_penalties / keras"], rows


if __name__ == "__main__":
    show.part(measure_all, tables)
