"""What a training step costs with ten penalties, by each way of attaching them, against the plain model.

    PYTHONPATH=. python benchmarks/attach.py         # on TensorFlow; KERAS_BACKEND=jax, or torch
    PYTHONPATH=. python benchmarks/attach.py real    # twenty penalties on MobileNetV2 and ResNet50, on JAX

Each way trains the same model on the same batches. Ways take turns in one process, so that what else the
machine does falls on all of them. Times are the processor's, and a ratio is the median over the rounds.
Operations and bytes are what XLA counts in the compiled training step, where there is JAX.
"""

import json
import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers, ops
from rich.console import Console
from rich.table import Table

import keras_penalties as kp

CONSOLE = Console(width=120)
ROUNDS, BATCH, TEN = 11, 64, 10
OURS, KERAS = kp.regularizers.L2(1e-4), keras.regularizers.L2(1e-4)


class AddLoss(layers.Layer):
    """What one writes by hand."""

    def call(self, x):
        self.add_loss(1e-4 * ops.sum(ops.square(x)) / ops.cast(ops.shape(x)[0], "float32"))
        return x


def mlp(punished):
    start = h = keras.Input((256,))
    for i in range(TEN):
        h = punished(layers.Dense, 512, activation="relu", name=f"hidden_{i}")(h)
    return keras.Model(start, layers.Dense(10)(h))


def cnn(punished):
    start = h = keras.Input((32, 32, 3))
    for i in range(TEN):
        h = punished(
            *(layers.Conv2D, 16 if i < 5 else 32, 3, 2 if i in (4, 8) else 1, "same"),
            activation="relu",
            name=f"hidden_{i}",
        )(h)
    return keras.Model(start, layers.Dense(10)(layers.GlobalAveragePooling2D()(h)))


def transformer(punished):
    start = h = keras.Input((32, 64))
    for i in range(TEN // 2):
        h = layers.LayerNormalization()(h + layers.MultiHeadAttention(4, 16, dropout=0.1)(h, h))
        inner = punished(layers.Dense, 128, activation="gelu", name=f"hidden_{2 * i}")(h)
        h = layers.LayerNormalization()(h + punished(layers.Dense, 64, name=f"hidden_{2 * i + 1}")(inner))
    return keras.Model(start, layers.Dense(10)(layers.GlobalAveragePooling1D()(h)))


def with_argument(regularizer):
    return lambda layer, *args, **kwargs: layer(*args, activity_regularizer=regularizer, **kwargs)


def with_layer_behind(make):
    def punished(layer, *args, name, **kwargs):
        inner, behind = layer(*args, name=name, **kwargs), make(f"{name}_penalty")
        return lambda x: behind(inner(x))

    return punished


def plain(layer, *args, **kwargs):
    return layer(*args, **kwargs)


def hidden_outputs(build):
    names = [f"hidden_{i}" for i in range(TEN)]
    return kp.models.HiddenOutputs(build(plain), hidden=names), {"hidden_losses": dict.fromkeys(names, OURS)}


def ways(build):
    """For each way a model, and what it is compiled with."""
    named = with_layer_behind(lambda name: kp.layers.ActivityPenalty(OURS, name=name))
    return {
        "no penalty": (build(plain), {}),
        "Keras' L2, argument": (build(with_argument(KERAS)), {}),
        "add_loss layers by hand": (build(with_layer_behind(lambda name: AddLoss(name=name))), {}),
        "ours, argument": (build(with_argument(OURS)), {}),
        "ours, ten named layers": (build(named), {}),
        "ours, penalize": (kp.penalize(build(plain), {"hidden_*": OURS}), {}),
        "ours, HiddenOutputs": hidden_outputs(build),
    }


def data_for(model, rows):
    random = np.random.default_rng(0)
    return random.normal(size=(rows, *model.input_shape[1:])).astype("float32"), random.integers(0, 10, rows)


def compiled(model, options):
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    return model


def times(build, steps):
    """Seconds of the processor that each way takes for a step, by rounds."""
    models = {name: compiled(*way) for name, way in ways(build).items()}
    x, y = data_for(models["no penalty"], steps * BATCH)
    taken = {name: [] for name in models}
    for i in range(ROUNDS + 1):
        for name, model in models.items():
            start = time.process_time()
            model.fit(x, y, batch_size=BATCH, verbose=0, shuffle=False)
            if i:  # the first one compiles
                taken[name].append((time.process_time() - start) / steps)
    return taken


def counts(model, options):
    """Operations and bytes of the compiled training step, by XLA."""
    import jax

    compiled(model, options)
    x, y = data_for(model, BATCH)
    model.optimizer.build(model.trainable_variables)
    model._symbolic_build(data_batch=(x, y))
    kinds = ("trainable_variables", "non_trainable_variables", "metrics_variables")
    trainable, others, metrics = ([v.value for v in getattr(model, kind)] for kind in kinds)
    state = trainable, others, [v.value for v in model.optimizer.variables], metrics
    analysis = jax.jit(model.train_step).lower(state, (x, y)).compile().cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    return analysis["flops"], analysis["bytes accessed"]


def count_all():
    return {
        build.__name__: {n: counts(*w) for n, w in ways(build).items()} for build in (mlp, cnn, transformer)
    }


def real_models():
    """What `penalize` adds to the step of two architectures: operations, bytes, and time to build."""
    found = {}
    for name in ("MobileNetV2", "ResNet50"):
        start = time.perf_counter()
        shape = {"input_shape": (224, 224, 3), "classes": 10, "classifier_activation": None}
        model = getattr(keras.applications, name)(weights=None, **shape)
        middle = time.perf_counter()
        convolutions = [layer.name for layer in model.layers if isinstance(layer, layers.Conv2D)][:20]
        penalized = kp.penalize(model, dict.fromkeys(convolutions, OURS))
        end = time.perf_counter()
        pairs = zip(counts(penalized, {}), counts(model, {}), strict=True)
        found[name] = *(a / b for a, b in pairs), middle - start, end - middle
    return found


def in_jax(what):
    """What this script prints for `what` in a process on JAX; nothing where JAX is missing."""
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, __file__, what], capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}


def main():
    counted = in_jax("count")
    for build, steps in ((mlp, 60), (cnn, 15), (transformer, 15)):
        taken, found = times(build, steps), counted.get(build.__name__, {})
        backend = f"{keras.backend.backend()}, Keras {keras.__version__}"
        title = f"{build.__name__}: ten L2 penalties, batch {BATCH}, {backend}"
        table = Table(title=title, title_justify="left")
        for column in ("", "ms a step", "of no penalty", "of Keras' L2", "XLA flops", "bytes"):
            table.add_column(column, justify="right" if column else "left")
        for name, seconds in taken.items():
            ratios = [
                statistics.median(a / b for a, b in zip(seconds, taken[base], strict=True))
                for base in ("no penalty", "Keras' L2, argument")
            ]
            row = [f"{1e3 * statistics.median(seconds):.2f}", *(f"{ratio:.3f}" for ratio in ratios)]
            row += (
                [f"{a / b:.4f}" for a, b in zip(found[name], found["no penalty"], strict=True)]
                if found
                else []
            )
            table.add_row(name, *row)
        CONSOLE.print(table)


if __name__ == "__main__":
    if sys.argv[1:] == ["count"]:
        print(json.dumps(count_all()))
    elif sys.argv[1:] == ["count-real"]:
        print(json.dumps(real_models()))
    elif sys.argv[1:] == ["real"]:
        for name, (flops, accessed, own, more) in in_jax("count-real").items():
            CONSOLE.print(
                f"{name}, 20 penalties: {flops:.5f} of the flops, {accessed:.5f} of the bytes; "
                f"built in {own:.1f} s, penalized in {more:.2f} s"
            )
    else:
        main()
