"""Two processes that train together end where one ends."""

import os
import subprocess
import sys

import pytest

from tests.support import replicated
from tests.support.helpers import ROOT


@pytest.mark.backends("jax")
def test_two_processes_train_as_one(tmp_path):
    port, few = replicated.free_port(), replicated.FEW
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    files = [tmp_path / f"{i}.npz" for i in (0, 1)]
    running = []
    for i, file in enumerate(files):
        command = [
            sys.executable,
            "-m",
            "tests.support.replicated",
            f"process-{i}-{port}",
            "float32",
            file,
            *few,
        ]
        running.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        one = replicated.train(only=few)
        for process in running:
            said = process.communicate(timeout=300)[1]
            assert process.returncode == 0, said[-4000:]
    finally:
        for process in running:
            process.kill()
    for file in files:
        found = replicated.differences(one, replicated.load(file))
        assert max(found.values()) < 1e-5, found
