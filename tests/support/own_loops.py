"""A training loop of torch, as in Keras' guide to several GPUs, on one process or on several."""

import sys

import keras
import numpy as np
from keras import layers

import keras_penalties as kp
from tests.support import replicated

R, S = kp.regularizers, kp.schedules


def model():
    keras.utils.set_random_seed(0)
    start = keras.Input((6,))
    teacher = layers.Dense(5, activation="tanh", name="teacher", trainable=False)(start)
    h = layers.Dense(4, activation="tanh", name="hidden")(start)
    h = kp.layers.ActivityPenalty(R.DeCov(S.Target(0.1, initial=0.05)), name="decov")(h)
    hint = kp.layers.ActivityPenalty(R.Hint(0.1, projection=True), name="hint")([h, teacher])
    found = keras.Model(start, layers.Dense(2)(hint[0]))
    return kp.penalize(found, {"hidden": R.Variance(S.Cyclical(0.1, 4))})


def train(i=0, count=1):
    """The logs of the penalties, and the weights, after some steps on part `i` of each batch."""
    import torch

    found = model()
    x = np.random.RandomState(0).normal(size=(4, 12, 6)).astype("float32")
    parameters = [p for p in found.parameters() if p.requires_grad]
    wrapped = torch.nn.parallel.DistributedDataParallel(found) if count > 1 else found
    optimizer, logs = torch.optim.SGD(parameters, 0.1), {}
    for batch in np.array_split(x, count, axis=1)[i]:
        batch = torch.tensor(batch)
        optimizer.zero_grad()
        loss = torch.mean((wrapped(batch, training=True) - batch[:, :2]) ** 2) + sum(found.losses)
        loss.backward()
        optimizer.step()
        for metric in found.metrics:
            logs.setdefault(metric.name, []).append(float(metric.result()))
    if i == 0:
        with torch.no_grad():
            found(torch.tensor(x[0]))
            assert all(torch.isfinite(value) for value in found.losses)
    return logs, found.get_weights()


def main(setup, _, file):
    _, i, count, port = setup.split("-")
    replicated.join(int(i), int(count), port)
    replicated.save(file, *train(int(i), int(count)))


if __name__ == "__main__":
    main(*sys.argv[1:])
