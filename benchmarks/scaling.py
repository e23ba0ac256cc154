"""What each penalty makes devices send to each other in a training step, in bytes, and how that grows.

Run from the root of the repository, in an environment with this package, JAX, matplotlib and rich:

    python -m benchmarks.scaling [record.txt] [figure.png]

On JAX the value of a penalty and its gradient are compiled for a batch that is split over devices, and the
collectives are read from the compiled program. On TensorFlow they are counted while a step of replicas runs.
Bytes are what one device passes on: in a ring of R devices, 2 (R - 1) / R of what is summed, R - 1 times its
own part of what is gathered.
"""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import keras_penalties as kp
from keras_penalties._keras import replicas
from tests.support import replicated

WIDTHS = ROWS = (64, 256, 1024)
# Each case: rows, features, devices. First the widths, then other numbers of rows, then fewer devices.
CASES = [(256, d, 4) for d in WIDTHS] + [(n, 256, 4) for n in ROWS if n != 256] + [(256, 256, 2)]
LAYER = "the gradient of a Dense layer, no penalty"
SIZES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "pred": 1, "u8": 1}
COLLECTIVE = re.compile(
    r"= (?P<shapes>\(.*?\)|\S+) (?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)"
    r"(?P<start>-start)?\("
)


def penalties():
    """A penalty of each class that is exported, at a strength of 1, and how many tensors it takes."""
    found = {}
    one = replicated.of_one_tensor()
    for of in (one, replicated.of_several_tensors()):
        for name, penalty in of.items():
            if name not in ("Keras", *found):
                options = {"from_logits": True} if name in ("Entropy", "Confidence") else {}
                options |= {"threshold": 0.5} if name == "Excess" else {}
                strengths = (1.0, 1.0) if name == "L1L2" else (1.0,)
                tensors = 1 if of is one else int(np.max(penalty.tensors))
                found[name] = getattr(kp.regularizers, name)(*strengths, **options), tensors
    return found


def shape_of(name, rows, features):
    return (rows // 2, 2, features) if name in ("TotalVariation", "TemporalSmoothness") else (rows, features)


def passed_on(text, devices):
    """Bytes that a device passes on in a compiled program, and its collectives by kind."""
    total, kinds = 0.0, {}
    share = (devices - 1) / devices
    for found in COLLECTIVE.finditer(text):
        assert not found["start"], "asynchronous collectives are not read"
        size = sum(
            SIZES[kind] * math.prod(int(n) for n in shape.split(",") if n)
            for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", found["shapes"])
        )
        # What is found is the size of the result: for a gather that of all parts, for a scatter of one.
        factor = {"all-reduce": 2 * share, "reduce-scatter": devices - 1, "collective-permute": 1}
        total += size * factor.get(found["kind"], share)
        kinds[found["kind"]] = kinds.get(found["kind"], 0) + 1
    return total, kinds


def with_jax():
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    def program(function, shapes, devices, split):
        mesh = Mesh(np.array(jax.devices()[:devices]), ["batch"])
        of_batch, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["batch"], []))
        places = [of_batch if is_split else whole for is_split in split]
        arguments = [jax.ShapeDtypeStruct(shape, "float32") for shape in shapes]
        wanted = tuple(range(len(shapes))) if all(split) else 1
        slopes = tuple(places) if all(split) else whole
        step = jax.value_and_grad(function, argnums=wanted)
        step = jax.jit(step, in_shardings=tuple(places), out_shardings=(whole, slopes))
        return passed_on(step.lower(*arguments).compile().as_text(), devices)

    def dense(x, w):
        return (jax.numpy.tanh(x @ w) ** 2).mean()

    for case in CASES:
        rows, features, devices = case
        sent = program(dense, [(rows, features), (features, features)], devices, [True, False])
        yield LAYER, case, *sent
        for name, (penalty, tensors) in penalties().items():

            def value(*x, penalty=penalty):
                return penalty.measure(list(x) if len(x) > 1 else x[0])

            shapes = [shape_of(name, rows, features)] * tensors
            yield name, case, *program(value, shapes, devices, [True] * tensors)


def whole_steps():
    """What a named penalty adds to the whole training step of a model, for some kinds."""
    import jax

    rows, features, devices = 256, 256, 4
    all_devices = keras.distribution.list_devices()[:devices]
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=all_devices))
    sent = {}
    for name in (None, "L2", "KLSparsity", "DeCov", "MMD"):
        start = keras.Input((features,))
        h = keras.layers.Dense(features, activation="sigmoid")(start)
        if name:
            h = kp.layers.ActivityPenalty(penalties()[name][0], name="penalty")(h)
        model = keras.Model(start, keras.layers.Dense(features)(h))
        model.compile(keras.optimizers.SGD(0.01), "mse")
        x = np.zeros((rows, features), "float32")
        model.optimizer.build(model.trainable_variables)
        model._symbolic_build(data_batch=(x, x))
        kinds = ("trainable_variables", "non_trainable_variables", "metrics_variables")
        trainable, others, metrics = ([v.value for v in getattr(model, kind)] for kind in kinds)
        state = trainable, others, [v.value for v in model.optimizer.variables], metrics
        places = jax.tree.map(lambda v: v.sharding, state)
        layout = keras.distribution.distribution().get_data_layout(x.shape).backend_layout
        batch = (jax.device_put(x, layout),) * 2
        step = jax.jit(model.train_step, out_shardings=(None, places)).lower(state, batch)
        sent[name] = passed_on(step.compile().as_text(), devices)[0]
        if name:
            yield name, (rows, features, devices), sent[name] - sent[None], {"plain": sent[None]}


def with_tensorflow():
    import tensorflow as tf

    replicated.tensorflow_devices(4)
    sizes, own = [], {}

    def record(name, size):
        sizes.append((name.numpy().decode(), int(size)))

    def counted(name):
        def collective(input, **options):
            if replicas.replica() > 0:
                return own[name](input=input, **options)
            # When the step runs: it decides then which of two exchanges it needs.
            recorded = tf.py_function(record, [name, tf.size(input) * input.dtype.size], [])
            with tf.control_dependencies([recorded]):
                return own[name](input=input, **options)

        own[name] = getattr(tf.raw_ops, name)
        return collective

    for name in ("CollectiveReduceV2", "CollectiveGatherV2"):
        setattr(tf.raw_ops, name, counted(name))
    for rows, features, devices in CASES:
        strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(devices)])
        for name, (penalty, tensors) in penalties().items():
            shape = shape_of(name, rows // devices, features)
            x = tf.ones(shape) * 0.5

            def step(penalty=penalty, x=x, tensors=tensors):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    xs = [x * share for share in (1, 0.5, 0.3)[:tensors]]
                    value = penalty.measure(xs if tensors > 1 else x)
                return tape.gradient(value, x)

            sizes.clear()
            tf.function(lambda step=step, strategy=strategy: strategy.run(step), autograph=False)()
            kinds, total = {}, 0.0
            for kind, size in sizes:
                reduced = "Reduce" in kind
                kinds["all-reduce" if reduced else "all-gather"] = (
                    kinds.get("all-reduce" if reduced else "all-gather", 0) + 1
                )
                total += size * (2 * (devices - 1) / devices if reduced else devices - 1)
            yield name, (rows, features, devices), total, kinds


def worker(backend):
    for line in {"jax": with_jax, "tensorflow": with_tensorflow}[backend]():
        print(json.dumps([backend, *line]), flush=True)
    if backend == "jax":
        for line in whole_steps():
            print(json.dumps(["step", *line]), flush=True)


def measured():
    """For each kind of measurement, each name and each case: bytes, and collectives."""
    found = {}
    for backend in ("jax", "tensorflow"):
        command = [sys.executable, "-m", "benchmarks.scaling", "worker", backend]
        environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""}
        environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        lines = subprocess.run(command, env=environment, check=True, **quiet).stdout.splitlines()
        for line in lines:
            kind, name, case, sent, kinds = json.loads(line)
            found.setdefault(kind, {}).setdefault(name, {})[tuple(case)] = sent, kinds
    return found


def alike(of_names):
    """Names with the same bytes in each case, together."""
    groups = {}
    for name, of_cases in of_names.items():
        groups.setdefault(tuple(of_cases[case][0] for case in CASES), []).append(name)
    return {", ".join(names): sent for sent, names in sorted(groups.items(), key=lambda item: item[0][1])}


def growth(small, large):
    """The exponent with which bytes grow from one case to another with four times as much of something."""
    return f"{math.log(large / small, 4):.1f}" if small else ""


def show(console, title, of_names):
    table = Table(title=f"{title}: bytes that a device passes on in a step")
    table.add_column("")
    for rows, features, devices in CASES:
        table.add_column(f"{rows} x {features} on {devices}", justify="right")
    for column in ("width", "rows"):
        table.add_column(f"exponent of {column}, few to many", justify="right")
    at = {case: i for i, case in enumerate(CASES)}
    for names, sent in alike(of_names).items():
        widths, rows = (
            [sent[at[case]] for case in cases] for cases in (CASES[:3], [CASES[i] for i in (3, 1, 4)])
        )
        exponents = [f"{growth(*sizes[:2])} {growth(*sizes[1:])}" for sizes in (widths, rows)]
        table.add_row(names, *(f"{size:,.0f}" for size in sent), *exponents)
    console.print(table)


def draw(found, file):
    """Bytes against width for one penalty of each kind, beside the gradient of the layer itself."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds = {  # label, colour and marks: lines that coincide are both seen
        "L2": ("one number: L2", "#0072B2", "o-"),
        "KLSparsity": ("a mean per feature: KLSparsity", "#D55E00", "s-"),
        "DeCov": ("covariances: DeCov", "#595959", "D-"),
        "MMD": ("pairs of rows: MMD", "#CC79A7", "^--"),
    }
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.4), sharey=True, layout="constrained")
    for axis, backend, title in zip(axes, ("jax", "tensorflow"), ("JAX", "TensorFlow"), strict=True):
        layer = [found["jax"][LAYER][case][0] for case in CASES[:3]]
        axis.plot(WIDTHS, layer, "k:", label="the gradient of Dense(width), no penalty", zorder=3)
        for name, (label, colour, marks) in kinds.items():
            sent = [found[backend][name][case][0] for case in CASES[:3]]
            axis.plot(WIDTHS, sent, marks, color=colour, label=label, linewidth=2)
        axis.set(title=title, xlabel="width of the layer", xscale="log", yscale="symlog", xticks=WIDTHS)
        axis.set_xticklabels(WIDTHS)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("bytes a device passes on in a step")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    figure.suptitle("What a penalty sends between 4 devices, 256 rows")
    figure.savefig(file, dpi=130)


def main():
    found = measured()
    console = Console(width=170, record=True)
    show(console, "JAX, the compiled program", found["jax"])
    show(console, "TensorFlow, a step of replicas", found["tensorflow"])
    for backend in ("jax", "tensorflow"):
        for name, of_cases in found[backend].items():
            kinds = [of_cases[case][1] for case in (CASES[1], CASES[2])]
            console.print(
                f"{backend} {name}: {kinds[0]}, with more features than rows {kinds[1]}", highlight=False
            )
    for name, of_cases in found["step"].items():
        for case, (sent, kinds) in of_cases.items():
            alone = found["jax"][name][case][0]
            text = f"A whole training step with {name}: {sent:,.0f} bytes more than without, "
            text += f"{kinds['plain']:,.0f}; the penalty by itself: {alone:,.0f}"
            console.print(text, highlight=False)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(console.export_text())
    if len(sys.argv) > 2:
        draw(found, sys.argv[2])


if __name__ == "__main__":
    worker(sys.argv[2]) if sys.argv[1:2] == ["worker"] else main()
