"""What twenty penalties add to the step of two architectures, by XLA's count, and the time to put them on.

KERAS_BACKEND=jax python -m benchmarks.architectures
"""

import time

import keras
from keras import layers

import keras_penalties as kp
from benchmarks import measure, show
from benchmarks.attach import BATCH, OURS, compiled, data_for

NAMES, TWENTY = ("MobileNetV2", "ResNet50"), 20


def measured(name):
    shape = {"input_shape": (224, 224, 3), "classes": 10, "classifier_activation": None}
    start = time.process_time()
    model = getattr(keras.applications, name)(weights=None, **shape)
    middle = time.process_time()
    convolutions = [layer.name for layer in model.layers if isinstance(layer, layers.Conv2D)][:TWENTY]
    penalized = kp.penalize(model, dict.fromkeys(convolutions, OURS))
    end = time.process_time()
    (flops, accessed), (plain, plainly) = (
        measure.step_counts(compiled(one, {}), *data_for(one, BATCH)) for one in (penalized, model)
    )
    return {
        "flops": flops / plain,
        "bytes": accessed / plainly,
        "build": middle - start,
        "penalize": end - middle,
    }


def measure_all():
    return {"backend": show.backend(), "models": {name: measured(name) for name in NAMES}}


def tables(record):
    yield (
        f"{TWENTY} penalties on an architecture, {record['backend']}",
        ["", "flops / plain step", "bytes / plain step", "seconds to build", "seconds to penalize"],
        [
            [
                name,
                f"{row['flops']:.4f}",
                f"{row['bytes']:.4f}",
                f"{row['build']:.1f}",
                f"{row['penalize']:.2f}",
            ]
            for name, row in record["models"].items()
        ],
    )


if __name__ == "__main__":
    show.part(measure_all, tables)
