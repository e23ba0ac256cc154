"""A student that learns a teacher's hidden layers: `HiddenOutputs` compared with Keras' own `Distiller`.

    KERAS_BACKEND=jax python -m benchmarks.hints       # operations and bytes, by XLA, and time
    KERAS_BACKEND=tensorflow python -m benchmarks.hints   # time

The student has dropout, so that two runs of it cannot be merged into one.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers

import keras_penalties as kp
from benchmarks import measure, show

BATCH, WIDTH, STEPS = 64, 256, 20
HINTS = ("hidden_1", "hidden_3")


def network(name):
    hidden = [layers.Dense(WIDTH, activation="relu", name=f"hidden_{i}") for i in range(4)]
    return keras.Sequential(
        [keras.Input((WIDTH,)), layers.Dropout(0.3), *hidden, layers.Dense(10)], name=name
    )


def by_distiller(student, teacher):
    hints = [keras.distillation.FeatureDistillation("mse", name, name) for name in HINTS]
    model = keras.distillation.Distiller(teacher, student, hints)
    model.compile(keras.optimizers.SGD(0.01), loss="mse")
    return model, lambda y: y


def by_hidden_outputs(student, teacher):
    x = keras.Input((WIDTH,))
    both = keras.Model(x, {"answer": student(x), "teacher": teacher(x)})
    paths = [f"{who}/{name}" for name in HINTS for who in ("student", "teacher")]
    model = kp.models.HiddenOutputs(both, hidden={path.replace("/", "_"): path for path in paths})
    hint = kp.regularizers.Hint(1.0, per="element")
    model.compile(
        keras.optimizers.SGD(0.01),
        loss={"answer": "mse", "teacher": None},
        hidden_losses={(f"student_{name}", f"teacher_{name}"): hint for name in HINTS},
    )
    return model, lambda y: {"answer": y}


def alone(student, _):
    student.compile(keras.optimizers.SGD(0.01), loss="mse")
    return student, lambda y: y


WAYS = {
    "Keras' Distiller": by_distiller,
    "ours, HiddenOutputs": by_hidden_outputs,
    "the student without a teacher": alone,
}


def measure_all():
    random = np.random.default_rng(0)
    x = random.normal(size=(STEPS * BATCH, WIDTH)).astype("float32")
    y = random.normal(size=(STEPS * BATCH, 10)).astype("float32")
    rows, steps = {}, {}
    for name, way in WAYS.items():
        teacher = network("teacher")
        teacher.trainable = False
        model, labels = way(network("student"), teacher)
        of_all = labels(y)
        if keras.backend.backend() == "jax":
            flops, accessed = measure.step_counts(model, x[:BATCH], labels(y[:BATCH]))
            rows[name] = {"flops": flops, "bytes": accessed}
        steps[name] = lambda model=model, y=of_all: model.fit(x, y, batch_size=BATCH, verbose=0)
    times = measure.in_turns(steps)
    for name in WAYS:
        rows.setdefault(name, {})["ms"] = 1e3 * measure.median(times, name) / STEPS
        rows[name]["time"] = measure.ratio(times, name, "Keras' Distiller")
    return {"backend": show.backend(), "rows": rows}


def tables(record):
    base = record["rows"]["Keras' Distiller"]
    rows = [
        [name, f"{row['ms']:.2f}", f"{row['time']:.2f}"]
        + [f"{row[kind] / base[kind]:.2f}" for kind in ("flops", "bytes") if kind in row]
        for name, row in record["rows"].items()
    ]
    counts = ("flops / Distiller", "bytes / Distiller") if "flops" in base else ()
    title = f"Two hints, a student with dropout, {record['backend']}"
    yield title, ["", "ms per step", "time / Distiller", *counts], rows


if __name__ == "__main__":
    show.part(measure_all, tables)
