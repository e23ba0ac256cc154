"""Each costly penalty and loss compared with the peer that a user would pick: time and memory, and how both
grow.

    KERAS_BACKEND=torch python -m benchmarks.costs      # or tensorflow, or jax

Forward and backward, as a user of that backend has it: eager in PyTorch, a graph for any batch size in
TensorFlow, compiled for its shapes in JAX. The time is the processor's; PyTorch has one thread.
"""

import math
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_penalties as kp
from benchmarks import measure, peers, show
from benchmarks.peers import MARGIN, TEMPERATURE

R, L = kp.regularizers, kp.losses
BACKEND = keras.backend.backend()
BASE, MORE_ROWS, MORE_FEATURES = (256, 256), (1024, 256), (256, 1024)
SIZES = ((64, 64), BASE, MORE_ROWS, MORE_FEATURES, (128, 4096))
MEMORY = ("256 x 256", "128 x 4096")
GROWN = ("time, 4x rows", "4x features", "memory, 4x rows", "4x features")


def one(penalty):
    return penalty.measure


def two(penalty):
    return lambda a, b: penalty.measure([a, b])


# Ours under the name of the peer's function, and what it takes: a tensor, two, an image, two of them, labels
# and rows, or groups and probabilities, whose number of features is 1.
CASES = {
    "VICReg, halved variance": (two(R.VICReg(1.0, variance=12.5)), "two"),
    "VICReg's covariance": (one(R.Covariance(1.0)), "one"),
    "VICReg's variance": (one(R.Variance(1.0)), "one"),
    "BarlowTwins": (two(R.BarlowTwins(1.0)), "two"),
    "BarlowTwins, correlations alone": (two(R.BarlowTwins(1.0, off_diagonal=0.0)), "two"),
    "GaussianKL": (two(R.GaussianKL(1.0)), "two"),
    "Entropy of logits": (one(R.Entropy(1.0, from_logits=True)), "one"),
    "TotalVariation": (one(R.TotalVariation(1.0)), "image"),
    "L1": (one(R.L1(1.0)), "one"),
    "L2": (one(R.L2(1.0)), "one"),
    "Hint": (two(R.Hint(1.0, per="element")), "two"),
    "AttentionTransfer": (two(R.AttentionTransfer(1.0)), "two images"),
    "RelationalKD": (two(R.RelationalKD(1.0)), "two"),
    "CKA": (two(R.CKA(1.0)), "two"),
    "KoLeo": (one(R.KoLeo(1.0)), "one"),
    "SIGReg": (one(R.SIGReg(1.0)), "one"),
    "MinDiff": (L.MinDiff(), "groups"),
    "DeCov": (one(R.DeCov(1.0)), "one"),
    "CORAL": (two(R.CORAL(1.0)), "two"),
    "MMD": (two(R.MMD(1.0)), "two"),
    "Huber": (L.Huber(), "two"),
    "NTXent, neighbours": (L.NTXent(TEMPERATURE), "labels"),
    "NTXent": (L.NTXent(TEMPERATURE), "labels"),
    "SupervisedContrastive": (L.SupervisedContrastive(TEMPERATURE), "labels"),
    "PairwiseContrastive": (L.PairwiseContrastive(MARGIN), "labels"),
    **{
        f"Triplet {mining}, euclidean": (L.Triplet(MARGIN, mining, "euclidean"), "labels")
        for mining in ("semi_hard", "hard", "all")
    },
}
# Both compare all triangles of rows: at 1,024 rows in arrays of 4 GB.
TOO_LARGE = {"RelationalKD": [MORE_ROWS]}
# Of lightly the function that is given its two views, as its users have them.
LEFT_OUT = {("lightly", "NTXent")}


def inputs(kind, rows, features):
    random = np.random.default_rng(0)
    shape = (rows, 8, 8, features // 64) if "image" in kind else (rows, features)
    x = random.normal(size=shape).astype("float32")
    if kind == "labels":
        return np.arange(rows) // 2, x
    if kind == "groups":
        return (np.arange(rows) % 2).astype("float32")[:, None], random.random((rows, 1), "float32")
    return [x, random.normal(size=shape).astype("float32")] if "two" in kind else [x]


def step_of_torch(function, xs):
    import torch

    torch.set_num_threads(1)
    tensors = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in xs]

    def step():
        for t in tensors:
            t.grad = None
        function(*tensors).backward()

    return step, lambda: _torch_peak(step)


def _torch_peak(step):
    """The most that PyTorch had allocated at once."""
    from torch.profiler import ProfilerActivity, profile

    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    held = most = 0
    for event in sorted(profiler.profiler.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def step_of_tensorflow(function, xs):
    import tensorflow as tf

    tensors = [tf.constant(x) for x in xs]

    @tf.function(input_signature=[tf.TensorSpec((None, *t.shape[1:]), t.dtype) for t in tensors])
    def compiled(*ts):
        floats = [t for t in ts if t.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(floats)
            value = function(*ts)
        return tape.gradient(value, floats)

    def step():
        compiled(*tensors)

    return step, lambda: None  # TensorFlow does not count memory of a processor


def step_of_jax(function, xs):
    import jax

    arrays = [jax.numpy.asarray(x) for x in xs]
    floats = tuple(i for i, x in enumerate(xs) if x.dtype.kind == "f")
    program = jax.jit(jax.value_and_grad(function, argnums=floats)).lower(*arrays).compile()
    return lambda: jax.block_until_ready(program(*arrays)), lambda: measure.xla_counts(program)[2]


STEPS = {"torch": step_of_torch, "tensorflow": step_of_tensorflow, "jax": step_of_jax}


def measured(name, theirs):
    """By sizes, seconds and bytes of ours and of each peer, and our time as a multiple of theirs."""
    ours, kind = CASES[name]
    functions, found = {"ours": ours, **theirs}, {}
    for rows, features in SIZES:
        if (rows, features) in TOO_LARGE.get(name, ()):
            nothing = {"seconds": math.nan, "bytes": None, "ours / this": math.nan}
            found[rows, features] = dict.fromkeys(functions, nothing)
            continue
        xs = inputs(kind, rows, features)
        steps = {who: STEPS[BACKEND](function, xs) for who, function in functions.items()}
        times = measure.in_turns({who: step for who, (step, _) in steps.items()}, rounds=7)
        found[rows, features] = {
            who: {
                "seconds": measure.median(times, who),
                "bytes": peak(),
                "ours / this": measure.ratio(times, "ours", who),
            }
            for who, (_, peak) in steps.items()
        }
    return found


def measure_all(names=()):
    installed = peers.installed(CASES, on=BACKEND)
    rows = []
    for name in names or CASES:
        theirs = {
            peer: functions[name]
            for peer, (_, functions) in installed.items()
            if name in functions and (peer.split()[0], name) not in LEFT_OUT
        }
        if not theirs and (BACKEND != "jax" or " " in name):
            continue
        found = measured(name, theirs)
        for who in theirs or ["ours"]:
            rows.append(row(name, who, found))
            print(
                name,
                who,
                *(f"{ratio:.2f}" for ratio in rows[-1]["time"].values()),
                file=sys.stderr,
                flush=True,
            )
    return {"backend": show.backend(), "rows": rows}


def row(name, who, found):
    def of(key, size, whose=who):
        return found[size][whose][key]

    def grown(key, whose, size):
        ends = of(key, BASE, whose), of(key, size, whose)
        return ends[1] / ends[0] if all(ends) else math.nan

    return {
        "name": name,
        "beside": "" if who == "ours" else who,
        "ms": 1e3 * of("seconds", BASE, "ours"),
        "MB": (of("bytes", BASE, "ours") or 0) / 1e6,
        "time": {f"{n} x {d}": of("ours / this", (n, d)) for n, d in SIZES},
        "memory": {
            f"{n} x {d}": (of("bytes", (n, d), "ours") or 0) / (of("bytes", (n, d)) or math.nan)
            for n, d in SIZES
        },
        "growth": {
            f"{key}, {axis}": [grown(key, whose, size) for whose in ("ours", who)]
            for key in ("seconds", "bytes")
            for axis, size in (("rows", MORE_ROWS), ("features", MORE_FEATURES))
        },
    }


def tables(record):
    """Ratios below 1 are in our favour; growth is that from 256 x 256 to four times the rows, or features."""
    number, rows = show.number, [row for row in record["rows"] if row["beside"]]
    yield (
        f"Time of ours / time of theirs, on {record['backend']}",
        ["ours", "compared with", "ours, ms at 256 x 256", *rows[0]["time"]],
        [[r["name"], r["beside"], number(r["ms"]), *map(number, r["time"].values())] for r in rows],
    )
    if not any(r["MB"] for r in rows):
        return
    yield (
        f"Working memory of ours / of theirs, and growth of ours / of theirs, on {record['backend']}",
        ["ours", "compared with", "ours, MB at 256 x 256", *(f"memory at {size}" for size in MEMORY), *GROWN],
        [
            [
                r["name"],
                r["beside"],
                number(r["MB"] or math.nan),
                *(number(r["memory"][size] or math.nan) if r["beside"] else "" for size in MEMORY),
                *(growth(pair[: 1 + bool(r["beside"])]) for pair in r["growth"].values()),
            ]
            for r in record["rows"]
        ],
    )


def growth(pair):
    return "" if any(map(math.isnan, pair)) else " / ".join(f"{value:.1f}" for value in pair)


if __name__ == "__main__":
    show.part(lambda: measure_all(sys.argv[1:]), tables)
