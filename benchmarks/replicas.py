"""The same training on one device, on several, and in several processes: how far apart are logs and weights.

Run from the root of the repository, in an environment with this package, JAX, PyTorch and rich:

    python -m benchmarks.replicas [record.txt [precision ...]]

Each setup is a process of its own (several for "2 processes" and "4 processes") that runs
`tests/support/replicated.py`: a penalty of each class (in half precision, five of them), all four ways of
attaching one, strengths that move, and a loss with state. Each is compared with one device on the same
backend. The yardstick is one device on which the rows of each batch come in reverse: the sums are the same,
and their rounding is not. What Keras itself cannot train is tried with a plain `Dense`, and named.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from rich.console import Console
from rich.table import Table

from tests.support import replicated

# For each precision the penalties: none named are all of them.
PENALTIES = {"float32": (), "mixed_float16": replicated.FEW, "mixed_bfloat16": replicated.FEW}
SETUPS = (
    ("tensorflow", "1 device, rows reversed", "reversed-1"),
    ("tensorflow", "2 replicas without collectives", "local-2"),
    ("tensorflow", "2 replicas", "devices-2"),
    ("tensorflow", "4 replicas", "devices-4"),
    ("jax", "1 device, rows reversed", "reversed-1"),
    ("jax", "2 devices", "devices-2"),
    ("jax", "4 devices", "devices-4"),
    ("jax", "2 x 2 devices, ModelParallel", "model-2"),
    ("jax", "2 processes", "process-2"),
    ("torch", "1 process, rows reversed", "reversed-1"),
    ("torch", "2 processes", "process-2"),
    ("torch", "4 processes", "process-4"),
)
LIMIT = 900
COLUMNS = ("loss", "terms", "strengths", "weights")
NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}

DENSE = """
import keras, numpy as np
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activity_regularizer={regularizer})])
model.compile("sgd", "mse", jit_compile={jit})
model.fit(np.ones((8, 3)), np.ones((8, 2)), batch_size=4, verbose=0)
"""
LOGICAL = """
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()
"""
WORKERS = "import tensorflow as tf\nscope = tf.distribute.MultiWorkerMirroredStrategy().scope()\n"


def end(commands, backend, **variables):
    """Run commands side by side, each with more variables of its own; the error of one that fails."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", **variables}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    running = [
        subprocess.Popen([sys.executable, *command], env={**environment, **own}, **quiet)
        for command, own in commands
    ]
    failed = []
    for process in running:
        try:
            text = process.communicate(timeout=LIMIT)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            text = f"{process.communicate()[1]}\nno end within {LIMIT} s"
        if process.returncode:
            failed.append(last_error(text))
    return failed[0] if failed else None


def last_error(text):
    """What is said from the last line on that names an error, without the stack."""
    lines = [re.sub(r" \(defined @ .*?\)", "", line.strip()) for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(('File "', "Cf. ", "[["))] or ["no word"]
    named = [i for i, line in enumerate(lines) if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return " ".join(lines[named[-1] :] if named else lines[-1:])[:400]


def trained(folder, backend, setup, precision):
    """The files with what each process of a setup has trained."""
    setups = [setup]
    variables = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    kind, _, count = setup.partition("-")
    if kind == "process":
        port, variables = replicated.free_port(), {}
        setups = [f"process-{i}-{count}-{port}" for i in range(int(count))]
    files = [folder / f"{backend}-{one}-{precision}.npz" for one in setups]
    commands = [
        (["-m", "tests.support.replicated", one, precision, str(file), *PENALTIES[precision]], {})
        for one, file in zip(setups, files, strict=True)
    ]
    error = end(commands, backend, **variables)
    if error:
        raise RuntimeError(f"{backend} {setup} {precision}: {error}")
    return files


def rows(folder, precisions):
    """Each setup and precision with the largest differences from one device on the same backend."""
    for precision in precisions:
        for backend, label, setup in SETUPS:
            if setup == "local-2" and precision != "float32":
                continue
            one = folder / f"{backend}-devices-1-{precision}.npz"
            if not one.exists():
                trained(folder, backend, "devices-1", precision)
            apart = [
                replicated.differences(replicated.load(one), replicated.load(file))
                for file in trained(folder, backend, setup, precision)
            ]
            worst = [max(of[column] for of in apart) for column in COLUMNS]
            yield precision, f"{NAMES[backend]}, {label}", *worst


def of_keras_itself():
    """What ends in an error with a plain `Dense`, and how."""
    inside = "with scope:\n" + textwrap.indent(DENSE, "    ")
    jit = (["-c", LOGICAL + inside.format(jit=True, regularizer=None)], {})
    yield "jit_compile=True on two logical CPU replicas", end([jit], "tensorflow")
    workers = [f"localhost:{replicated.free_port()}", f"localhost:{replicated.free_port()}"]
    commands = []
    for i in (0, 1):
        place = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}}
        commands.append(
            (["-c", WORKERS + inside.format(jit=False, regularizer=None)], {"TF_CONFIG": json.dumps(place)})
        )
    yield "MultiWorkerMirroredStrategy in two processes", end(commands, "tensorflow")
    mixed = "import keras\nkeras.config.set_dtype_policy('mixed_bfloat16')\n"
    mixed += DENSE.format(jit="'auto'", regularizer="'l2'")
    yield "activity_regularizer='l2' in mixed precision, one device", end([(["-c", mixed], {})], "tensorflow")


def main():
    table = Table(title="Largest differences from one device on the same backend")
    table.add_column("precision")
    table.add_column("setup")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for precision, setup, *found in rows(Path(folder), sys.argv[2:] or PENALTIES):
            table.add_row(precision, setup, *(f"{value:.1e}" for value in found))
            print(f"{precision} | {setup} | {' | '.join(f'{value:.1e}' for value in found)}", flush=True)
    console = Console(width=120, record=True)
    console.print(table)
    for what, error in of_keras_itself():
        console.print(f"A plain Dense, {what}: {error or 'trains'}", highlight=False)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(console.export_text())


if __name__ == "__main__":
    main()
