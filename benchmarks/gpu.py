"""Absolute times of a step on an accelerator, in mixed precision: ResNet50, and a transformer; 16 penalties.

KERAS_BACKEND=jax python -m benchmarks.gpu          # `small` beside it: sizes that a processor can do
"""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import time

import keras
from keras import layers

import keras_penalties as kp
from benchmarks import measure, show
from benchmarks.attach import compiled, data_for

SIXTEEN, OURS = 16, kp.regularizers.L2(1e-6)
KERAS = keras.regularizers.L2(1e-6)


def resnet(small):
    size, batch = (64, 8) if small else (224, 128)
    shape = {"input_shape": (size, size, 3), "classes": 10, "classifier_activation": None}
    model = keras.applications.ResNet50(weights=None, **shape)
    return (
        model,
        [f"conv{i}_block{j}_out" for i, n in ((2, 3), (3, 4), (4, 6), (5, 3)) for j in range(1, n + 1)],
        batch,
    )


def transformer(small):
    width, length, batch = (64, 32, 8) if small else (512, 256, 64)
    start = h = keras.Input((length, width))
    for i in range(SIXTEEN // 2):
        h = layers.LayerNormalization()(
            h + layers.MultiHeadAttention(8, width // 8, name=f"attention_{i}")(h, h)
        )
        inner = layers.Dense(4 * width, activation="gelu", name=f"inner_{i}")(h)
        h = layers.LayerNormalization()(h + layers.Dense(width)(inner))
    names = [f"{kind}_{i}" for kind in ("attention", "inner") for i in range(SIXTEEN // 2)]
    model = keras.Model(start, layers.Dense(10)(layers.GlobalAveragePooling1D()(h)))
    return model, names, batch


def by_argument(model, names):
    model = keras.models.clone_model(model)
    for name in names:
        model.get_layer(name).activity_regularizer = KERAS
    return model


WAYS = {
    "no penalty": lambda model, names: model,
    "Keras' L2, argument": by_argument,
    "ours, penalize": lambda model, names: kp.penalize(model, dict.fromkeys(names, OURS)),
    "ours, HiddenOutputs": lambda model, names: kp.models.HiddenOutputs(model, hidden=names),
}


def measured(build, small):
    model, names, batch = build(small)
    x, y = map(keras.ops.convert_to_tensor, data_for(model, batch))
    steps, found, models = 2 if small else 20, {}, {}
    for name, way in WAYS.items():
        options = {"hidden_losses": dict.fromkeys(names, OURS)} if "Hidden" in name else {}
        models[name] = compiled(way(model, names), {"jit_compile": True, **options})

    def step(one):
        def run():
            for _ in range(steps):
                one.train_on_batch(x, y)

        return run

    runs = {name: step(one) for name, one in models.items()}
    times = measure.in_turns(runs, clock=time.perf_counter, least=0.0)
    for name in WAYS:
        found[name] = {
            "ms": 1e3 * measure.median(times, name) / steps,
            "ratio": measure.ratio(times, name, "no penalty"),
        }
    return found


def measure_all(small=False):
    import jax

    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    device = jax.devices()[0].device_kind
    models = {build.__name__: measured(build, small) for build in (resnet, transformer)}
    return {"backend": f"{show.backend()}, {device}", "models": models}


def tables(record):
    for name, rows in record["models"].items():
        title = f"{name}, {SIXTEEN} penalized layers, mixed_bfloat16, {record['backend']}"
        yield (
            title,
            ["", "ms per step", "of no penalty"],
            [[way, f"{row['ms']:.2f}", f"{row['ratio']:.3f}"] for way, row in rows.items()],
        )


if __name__ == "__main__":
    show.part(lambda: measure_all("small" in sys.argv[1:]), tables)
