"""What penalties of wide layers cost, forward and backward: operations, memory and time.

Run from the root of the repository, in an environment with this package, PyTorch, rich and, if there, lightly
and JAX; what is missing is named and left out:

    PYTHONPATH=. python benchmarks/wide.py [rows] [features]

Ours and theirs take turns in one process on the same cores, so that what else the machine does falls on
both; on a busy machine read the time of the processor. Operations are counted: by `FlopCounterMode` in
PyTorch (products of matrices), by XLA in JAX (all).
"""

import os
import sys

BACKEND = os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import importlib
import importlib.metadata
import importlib.util
import statistics
import subprocess
import time
from unittest.mock import MagicMock

import numpy as np
from keras import ops
from rich.console import Console
from rich.table import Table

import keras_penalties as kp

ROWS, FEATURES = (int(n) for n in sys.argv[1:3]) if len(sys.argv) > 2 else (128, 4096)
ROUNDS = 5
TWO_VIEWS = ("BarlowTwins", "VICReg")
CONSOLE = Console(width=120)


def ours():
    """Functions of two views; those of one take the first."""
    R = kp.regularizers
    one, two = (R.DeCov(1.0), R.Covariance(1.0)), (R.BarlowTwins(1.0), R.VICReg(1.0))
    return {
        **{type(p).__name__: (lambda a, b, p=p: p.measure(a)) for p in one},
        **{type(p).__name__: (lambda a, b, p=p: p.measure([a, b])) for p in two},
    }


def by_features(a, b):
    """The covariance term as it is usually written, through the features-by-features matrix."""
    z = a - ops.mean(a, axis=0)
    c = ops.transpose(z) @ z / (a.shape[0] - 1.0)
    return (ops.sum(ops.square(c)) - ops.sum(ops.square(ops.diagonal(c)))) / a.shape[1]


def lightly():
    if importlib.util.find_spec("torchvision") is None:  # which its `__init__` wants, not these losses
        for name in ("", ".ops", ".transforms", ".transforms.functional"):
            sys.modules[f"torchvision{name}"] = MagicMock()
    losses = importlib.import_module("lightly.loss")
    module = importlib.import_module("lightly.loss.vicreg_loss")
    return {
        "lightly's covariance": lambda a, b: module.covariance_loss(a),
        "lightly's covariance, both views": lambda a, b: (
            module.covariance_loss(a) + module.covariance_loss(b)
        ),
        "lightly's VICRegLoss": losses.VICRegLoss(),
        "lightly's BarlowTwinsLoss": losses.BarlowTwinsLoss(0.0051),
    }


def with_torch():
    import torch
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.flop_counter import FlopCounterMode

    functions = {**ours(), "features by features": by_features}
    try:
        functions.update(lightly())
    except ImportError as error:
        CONSOLE.print(f"Without lightly: {error}.")
    torch.manual_seed(0)
    views = [torch.randn(ROWS, FEATURES, requires_grad=True) for _ in range(2)]

    def step(function):
        for view in views:
            view.grad = None
        function(*views).backward()

    counted = {}
    for name, function in functions.items():
        with FlopCounterMode(display=False) as counter:
            step(function)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, record_shapes=True) as profiler:
            step(function)
        counted[name] = counter.get_total_flops(), *memory(profiler)
    several = torch.get_num_threads()
    for title, threads, clock in (
        (f"{several} threads, time on the clock", several, time.perf_counter),
        ("one thread, time of the processor", 1, time.process_time),
    ):
        torch.set_num_threads(threads)
        times = {name: [] for name in functions}
        for _ in range(ROUNDS):
            for name, function in functions.items():
                start = clock()
                step(function)
                times[name].append(clock() - start)
        show(f"PyTorch {torch.__version__}, {title}", times, counted)


def memory(profiler):
    """The most that was allocated at once, and the largest single allocation, in bytes."""
    held = most = largest = 0
    for event in sorted(profiler.profiler.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most, largest = max(most, held), max(largest, event.nbytes())
    return most, largest


def with_jax():
    import jax

    random = np.random.RandomState(0)
    a, b = (jax.numpy.asarray(random.randn(ROWS, FEATURES), "float32") for _ in range(2))
    functions = {**ours(), "features by features": by_features}
    programs, times, counted = {}, {name: [] for name in functions}, {}
    for name, function in functions.items():
        program = jax.jit(jax.value_and_grad(function, argnums=(0, 1))).lower(a, b).compile()
        analysis = program.cost_analysis()
        analysis = analysis[0] if isinstance(analysis, list) else analysis
        counted[name] = analysis["flops"], program.memory_analysis().temp_size_in_bytes, None
        programs[name] = program
    for _ in range(ROUNDS):
        for name, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(a, b))
            times[name].append(time.perf_counter() - start)
    show(f"JAX {jax.__version__}", times, counted)


def show(title, times, counted):
    middle = {name: statistics.median(values) for name, values in times.items()}
    table = Table(title=f"{title}: {ROWS} rows of {FEATURES:,} features, forward and backward")
    base = "features by features"
    table.add_column("")
    columns = ("Gflop", f"{base} / this", "peak MB", "largest array MB", "median ms", "lightly's / this")
    for column in columns:
        table.add_column(column, justify="right")
    for name, seconds in middle.items():
        flops, peak, largest = counted[name]
        table.add_row(
            name,
            f"{flops / 1e9:.3g}",
            f"{counted[base][0] / flops:.1f}",
            f"{peak / 1e6:.0f}",
            "" if largest is None else f"{largest / 1e6:.1f}",
            f"{1000 * seconds:.1f}",
            ratio(times, name),
        )
    CONSOLE.print(table)
    CONSOLE.print(f"One array of {FEATURES:,} x {FEATURES:,} is {4 * FEATURES**2 / 1e6:.0f} MB.\n")


def ratio(times, name):
    """Lightly's covariance, of as many views, over this: the median over the rounds."""
    usual = times.get("lightly's covariance" + ", both views" * (name in TWO_VIEWS or "VICReg" in name))
    return f"{statistics.median(u / t for u, t in zip(usual, times[name], strict=True)):.1f}" if usual else ""


def main():
    {"torch": with_torch, "jax": with_jax}[BACKEND]()
    if BACKEND == "torch" and importlib.util.find_spec("jax"):
        subprocess.run([sys.executable, *sys.argv], env={**os.environ, "KERAS_BACKEND": "jax"}, check=True)


if __name__ == "__main__":
    main()
