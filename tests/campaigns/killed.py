"""Training that is killed (`kill -9`) and resumed, compared with the same training uninterrupted.

`python -m tests.campaigns.killed 24` kills that many times, at random, and prints the table of
`docs/saved-files.md`.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

EPOCHS, STEPS, ROWS = 4, 6, 24
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def network():
    """Every kind of state: schedules, a target, centres, a projection, moments of the optimizer."""
    import keras
    from keras import layers

    import keras_penalties as kp

    R, S = kp.regularizers, kp.schedules
    keras.utils.set_random_seed(0)
    start = keras.Input((3,))
    h = layers.Dense(4, "tanh", name="hidden", activity_regularizer=R.L2(0.01))(start)
    h = kp.layers.ActivityPenalty(R.L2(S.Target(1.0, rate=0.1, initial=0.05)), name="aimed")(h)
    h = layers.BatchNormalization()(h)  # no Dropout: Keras keeps no seed of it
    g = kp.layers.ActivityPenalty(R.DeCov(S.Cyclical(0.2, 5)), name="cyclical")(
        layers.Dense(3, name="code")(h)
    )
    model = kp.models.HiddenOutputs(keras.Model(start, layers.Dense(2)(g)), hidden=["hidden", "code"])
    warm = keras.optimizers.schedules.PolynomialDecay(0.0, 15, 0.3)
    hidden = {
        "code": kp.losses.Center(2),
        ("hidden", "code"): R.Hint(warm, projection=True),
    }
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, hidden_losses=hidden)
    return model


def data():
    drawn = np.random.RandomState(0)
    return drawn.randn(ROWS, 3).astype("float32"), np.arange(ROWS) % 2


def train(folder, record, kill_at):
    """Write down all variables after each step; at the step `kill_at`, if there is one, die."""
    import keras

    model = network()

    class Recorder(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            print("training", flush=True)
            step = int(self.model.optimizer.iterations)
            found = [*self.model.variables, *self.model.optimizer.variables]
            values = [float(np.sum(np.abs(np.float64(keras.ops.convert_to_numpy(v))))) for v in found]
            with open(record, "a") as file:
                file.write(json.dumps([step, values]) + "\n")
                file.flush()
            if step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    x, y = data()
    callbacks = [keras.callbacks.BackupAndRestore(folder, double_checkpoint=True), Recorder()]
    model.fit(x, y, batch_size=ROWS // STEPS, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=callbacks)


def run(folder, record, kill_at=0, kill_after=None):
    """Train in a process of its own; with `kill_after`, kill it that many seconds after its first step.

    Returns:
        whether it was killed.
    """
    command = [
        sys.executable,
        "-m",
        "tests.campaigns.killed",
        "train",
        str(folder),
        str(record),
        str(kill_at),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=QUIET)
    if kill_after is not None:
        process.stdout.readline()
        time.sleep(kill_after)
        process.kill()
    _, errors = process.communicate(timeout=600)
    if process.returncode not in (0, -signal.SIGKILL):
        raise Torn(errors[-3000:])
    return process.returncode != 0


class Torn(RuntimeError):
    """Keras could not read its own backup, which a kill had torn."""


def run_or_mend(backup, *arguments):
    """`run`; from the backup before the last one, or from the start, where the last one is torn.

    Returns:
        whether it was killed, and whether the backup was torn.
    """
    try:
        return run(backup, *arguments), False
    except Torn:
        before = list(backup.glob("*.bkp"))
        for file in before:
            shutil.copy(file, file.with_suffix(""))
        if not before:  # it was the first
            shutil.rmtree(backup)
        return run(backup, *arguments), True


def recorded(record):
    """All variables by step, a step that was trained again as it was the last time; and how often one was."""
    lines = Path(record).read_text().splitlines() if Path(record).exists() else []
    steps = dict(json.loads(line) for line in lines)
    return steps, len(lines) - len(steps)


def difference(steps, unbroken):
    """The largest difference of any variable in any of `steps`, relative where it is above 1."""
    pairs = [pair for step, values in steps.items() for pair in zip(values, unbroken[step], strict=True)]
    return max((abs(a - b) / max(abs(b), 1.0) for a, b in pairs), default=0.0)


def main(kills, chain=6):
    """Trainings that are killed up to six times each, and resumed each time where the last one left off."""
    from rich.console import Console
    from rich.table import Table

    drawn, done, torn = random.Random(0), 0, 0
    table = Table(
        "training", "kill", "sent", "steps on record", "of these trained again", "largest difference"
    )
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        run(folder / "unbroken", folder / "unbroken.jsonl")
        unbroken, _ = recorded(folder / "unbroken.jsonl")
        training = 0
        while done < kills:
            training += 1
            backup, record = folder / str(training), folder / f"{training}.jsonl"
            for point in sorted(drawn.sample(range(1, EPOCHS * STEPS), chain)):
                seconds = drawn.choice([None, drawn.uniform(0.0, 0.5)])
                killed, mended = run_or_mend(backup, record, point if seconds is None else 0, seconds)
                steps, again = recorded(record)
                done, torn = done + killed, torn + mended
                sent = (
                    f"after step {point}"
                    if seconds is None
                    else f"{1000 * seconds:.0f} ms after a first step"
                )
                counts = str(done) if killed else "too late", sent, str(len(steps)), str(again)
                table.add_row(str(training), *counts, f"{difference(steps, unbroken):.1e}")
                if not killed:
                    break
            torn += run_or_mend(backup, record)[1]
            steps, again = recorded(record)
            assert sorted(steps) == sorted(unbroken)
            counts = "none", "to the end", str(len(steps)), str(again)
            table.add_row(str(training), *counts, f"{difference(steps, unbroken):.1e}", end_section=True)
    Console(width=120).print(table)
    size = f"{len(unbroken)} steps of {len(next(iter(unbroken.values())))} variables"
    print(f"{done} kills, {torn} of which tore Keras' backup; {size}")


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main(int(sys.argv[1]))
