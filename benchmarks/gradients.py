"""What projections of the Jacobian cost in a training step, beside the plain step.

    KERAS_BACKEND=jax python -m benchmarks.gradients

prints per network the time of a compiled step, as a multiple of the plain step, and on JAX its operations.
"""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp
from benchmarks import measure, show

ROWS = 64


def network(kind):
    size = (28, 28, 1) if kind.startswith("convolutional") else (256,)
    x = h = keras.Input(size, name="x")
    for _ in range(3):
        linear = layers.Conv2D(32, 3, padding="same") if len(size) > 1 else layers.Dense(512)
        h = linear(h)
        if kind.endswith("normalized"):
            h = layers.Dropout(0.2)(layers.BatchNormalization()(h))
        h = layers.ReLU()(h)
    h = layers.GlobalAveragePooling2D()(h) if len(size) > 1 else h
    return keras.Model(x, layers.Dense(10, name="logits")(h))


def models(kind):
    """A model for each column, compiled: the wrapped model alone, and with 1 and 3 projections."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for projections in (0, 1, 3):
        gradient = kp.models.Gradient("logits", wrt="x", projections=projections or 1)
        hidden = {"slope": gradient} if projections else {}
        model = kp.models.HiddenOutputs(network(kind), hidden)
        losses = {"hidden_losses": {"slope": kp.regularizers.L2(0.01)}} if projections else {}
        model.compile(keras.optimizers.SGD(0.01), loss, **losses)
        yield f"{projections} projections", model


def main():
    rows = []
    for kind in ("dense", "dense, normalized", "convolutional", "convolutional, normalized"):
        steps, counts = {}, {}
        for name, model in models(kind):
            x = np.random.RandomState(0).randn(ROWS, *model.input_shape[1:]).astype("float32")
            y = np.arange(ROWS) % 10
            model.train_on_batch(x, y)
            steps[name] = lambda model=model, x=x, y=y: model.train_on_batch(x, y)
            if keras.backend.backend() == "jax":
                counts[name] = measure.step_counts(model, x, y)[0]
        times = measure.in_turns(steps)
        base, *others = steps
        for name in others:
            flops = f"{counts[name] / counts[base]:.2f}" if counts else "-"
            rows.append([kind, name, f"{measure.ratio(times, name, base):.2f}", flops])
    title = f"A step with projections, as a multiple of a plain step: {show.backend()}"
    show.show([(title, ["network", "", "time", "operations"], rows)])


if __name__ == "__main__":
    main()
