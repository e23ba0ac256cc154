"""What a training step costs with ten penalties, by each way of attaching them, against the plain model.

    KERAS_BACKEND=tensorflow python -m benchmarks.attach    # time; or jax: operations and bytes too; or torch

Each way trains the same model on the same batches. Ways take turns in one process, so that what else the
machine does falls on all of them. Times are the processor's, and a ratio is the median over the rounds.
Operations and bytes are what XLA counts in the compiled training step.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp
from benchmarks import measure, show

BATCH, TEN = 64, 10
BASES = ("no penalty", "Keras' L2, argument", "ours, argument")
OURS, KERAS = kp.regularizers.L2(1e-4), keras.regularizers.L2(1e-4)


class AddLoss(layers.Layer):
    """What one writes by hand."""

    def call(self, x):
        self.add_loss(1e-4 * ops.sum(ops.square(x)) / ops.cast(ops.shape(x)[0], "float32"))
        return x


def mlp(penalized):
    start = h = keras.Input((256,))
    for i in range(TEN):
        h = penalized(layers.Dense, 512, activation="relu", name=f"hidden_{i}")(h)
    return keras.Model(start, layers.Dense(10)(h))


def cnn(penalized):
    start = h = keras.Input((32, 32, 3))
    for i in range(TEN):
        h = penalized(
            *(layers.Conv2D, 16 if i < 5 else 32, 3, 2 if i in (4, 8) else 1, "same"),
            activation="relu",
            name=f"hidden_{i}",
        )(h)
    return keras.Model(start, layers.Dense(10)(layers.GlobalAveragePooling2D()(h)))


def transformer(penalized):
    start = h = keras.Input((32, 64))
    for i in range(TEN // 2):
        h = layers.LayerNormalization()(h + layers.MultiHeadAttention(4, 16, dropout=0.1)(h, h))
        inner = penalized(layers.Dense, 128, activation="gelu", name=f"hidden_{2 * i}")(h)
        h = layers.LayerNormalization()(h + penalized(layers.Dense, 64, name=f"hidden_{2 * i + 1}")(inner))
    return keras.Model(start, layers.Dense(10)(layers.GlobalAveragePooling1D()(h)))


def with_argument(regularizer):
    return lambda layer, *args, **kwargs: layer(*args, activity_regularizer=regularizer, **kwargs)


def with_layer_after(make):
    def penalized(layer, *args, name, **kwargs):
        inner, after = layer(*args, name=name, **kwargs), make(f"{name}_penalty")
        return lambda x: after(inner(x))

    return penalized


def plain(layer, *args, **kwargs):
    return layer(*args, **kwargs)


def hidden_outputs(build):
    names = [f"hidden_{i}" for i in range(TEN)]
    return kp.models.HiddenOutputs(build(plain), hidden=names), {"hidden_losses": dict.fromkeys(names, OURS)}


def ways(build):
    """For each way a model, and what it is compiled with."""
    named = with_layer_after(lambda name: kp.layers.ActivityPenalty(OURS, name=name))
    return {
        "no penalty": (build(plain), {}),
        "Keras' L2, argument": (build(with_argument(KERAS)), {}),
        "add_loss layers by hand": (build(with_layer_after(lambda name: AddLoss(name=name))), {}),
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


def measured(build, steps):
    """For each way the time of a step, and multiples of it; with JAX, what XLA counts."""
    models = {name: compiled(*way) for name, way in ways(build).items()}
    x, y = data_for(models["no penalty"], steps * BATCH)
    fits = {
        name: lambda model=model: model.fit(x, y, batch_size=BATCH, verbose=0, shuffle=False)
        for name, model in models.items()
    }
    counts = {}
    if keras.backend.backend() == "jax":
        counts = {name: measure.step_counts(model, x[:BATCH], y[:BATCH]) for name, model in models.items()}
    times = measure.in_turns(fits)
    return {
        name: {
            "ms": 1e3 * measure.median(times, name) / steps,
            **{base: measure.ratio(times, name, base) for base in BASES},
            "spread": measure.spread(times, name, BASES[1]),
            "flops": counts[name][0] if counts else None,
            "bytes": counts[name][1] if counts else None,
        }
        for name in models
    }


def measure_all():
    sizes = ((mlp, 60), (cnn, 15), (transformer, 15))
    return {"backend": show.backend(), "models": {b.__name__: measured(b, steps) for b, steps in sizes}}


def _ratios(row):
    """The ratios, with the quartiles of that to Keras' own."""
    ratios, spread = [f"{row[base]:.3f}" for base in BASES], row.get("spread")  # older records have none
    return [*ratios[:2], "{:.2f} to {:.2f}".format(*spread) if spread else "", ratios[2]]


def tables(record):
    for model, rows in record["models"].items():
        base, counted = rows["no penalty"], rows["no penalty"]["flops"]
        head = [
            "",
            "ms per step",
            *(f"× {name}" for name in BASES),
            *(("flops × no penalty", "bytes × no penalty") if counted else ()),
        ]
        head.insert(4, "quartiles")
        yield (
            f"{model}: ten L2 penalties, batch {BATCH}, {record['backend']}",
            head,
            [
                [name, f"{row['ms']:.2f}", *_ratios(row)]
                + [f"{row[kind] / base[kind]:.4f}" for kind in ("flops", "bytes") if counted]
                for name, row in rows.items()
            ],
        )


if __name__ == "__main__":
    show.part(measure_all, tables)
