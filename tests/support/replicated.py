"""One training, to be run on one device, on several, and in several processes, with the same result.

    python -m tests.support.replicated SETUP PRECISION FILE [PENALTY ...]

writes into FILE what the training logged and the weights that it ended with. `KERAS_BACKEND` is set before.
SETUP is `devices-2`, for 1, 2 or 4 devices; `model-2`, for a mesh of twice as many; `process-0-2-PORT`, for
the first of two processes that meet at a port of this machine; `reversed-1`, for one device and the rows of
each batch in reverse, which differs by rounding alone; or `local-2`, for TensorFlow replicas that know of no
others.
Where penalties are named, the others are left out.
"""

import contextlib
import os
import socket
import subprocess
import sys

import keras
import numpy as np
from keras import layers

import keras_penalties as kp
from keras_penalties._keras import replicas
from keras_penalties._keras.releases import KERAS_DIVIDES_BY_BATCH
from tests.support.helpers import ROOT

R, S = kp.regularizers, kp.schedules
STRENGTH = 0.02
SPREAD = ("L1", "GroupLasso", "DeCov", "KLSparsity", "LoadBalance", "ZLoss", "MMD", "CORAL", "Hint", "VICReg")
FEW = SPREAD[::2]


def of_one_tensor():
    """A penalty of each class that measures one tensor; Keras' own stands among them."""
    # Before Keras 3.14 its own activity regularizers are not divided by the batch: on replicas they are then
    # averaged, so that Keras by itself trains otherwise there. Ours stand in.
    stock = keras.regularizers if KERAS_DIVIDES_BY_BATCH else R
    moving = keras.optimizers.schedules.PolynomialDecay(0.0, 10, STRENGTH)
    with_options = {
        "Confidence": R.Confidence(STRENGTH, from_logits=True),
        "DeCov": R.DeCov(S.Target(0.1, rate=0.2, initial=STRENGTH)),
        "Entropy": R.Entropy(STRENGTH, from_logits=True),
        "Excess": R.Excess(STRENGTH, threshold=0.5),
        "L1": R.L1(S.Target(0.5, rate=0.1, initial=STRENGTH)),
        "L1L2": R.L1L2(STRENGTH, STRENGTH),
        "MarginalEntropy": R.MarginalEntropy(STRENGTH, from_logits=True),
        "L2": R.L2(moving),
    }
    return {"Keras": stock.L2(STRENGTH), **_of_tensors(1, with_options)}


def of_several_tensors():
    """A penalty of each class that compares several tensors."""
    with_options = {
        "GaussianKL": R.GaussianKL(STRENGTH, free_bits=0.1, capacity=0.3),
        "Hint": R.Hint(S.Target(0.3, rate=0.2, initial=STRENGTH), projection=True),
        "Match": R.Match(STRENGTH, "kl_divergence", detach="second", temperature=2.0),
        "VICReg": R.VICReg(S.Cyclical(0.001, 4)),
    }
    return {**_of_tensors(2, with_options), **_of_tensors(3, with_options)}


def _of_tensors(count, with_options):
    """The exported penalties that take so many tensors, by name."""
    bases = {"Penalty", "PerExamplePenalty", "BatchStatisticPenalty"}
    names = [n for n in R.__all__ if n not in bases and count in np.atleast_1d(getattr(R, n).tensors)]
    return {name: with_options.get(name) or getattr(R, name)(STRENGTH) for name in names}


def network(only=()):
    """Padded sequences; each penalty after a layer, under its own name, all four ways of attaching one."""
    stock = keras.regularizers if KERAS_DIVIDES_BY_BATCH else R
    start = keras.Input((5, 3))
    h = layers.Masking()(start)
    h = layers.Dense(4, activation="relu", name="hidden", activity_regularizer=stock.L2(STRENGTH))(h)
    h = layers.Dense(4, activation="sigmoid", activity_regularizer=R.Variance(STRENGTH))(h)
    wanted = only or [*of_one_tensor(), *of_several_tensors()]
    for name, penalty in of_one_tensor().items():
        if name in wanted:
            h = kp.layers.ActivityPenalty(penalty, name=name.lower())(h)
    g = layers.Dense(4, name="other", activity_regularizer=R.L1(STRENGTH))(h)
    for name, penalty in of_several_tensors().items():
        if name in wanted:
            compared = [h, g, h][: np.max(penalty.tensors)]
            g = kp.layers.ActivityPenalty(penalty, name=f"several_{name.lower()}")(compared)[1]
    # More features than rows, so that statistics go through the rows.
    code = layers.Dense(12, name="code")(layers.GlobalAveragePooling1D(name="pooled")(g))
    end = layers.Dense(3, activation="softmax", dtype="float32", activity_regularizer=stock.L1(STRENGTH))(
        code
    )
    model = kp.penalize(keras.Model(start, end), {"code": R.Covariance(STRENGTH)})
    hidden = {name: name for name in ("hidden", "other", "code", "pooled")}
    model = kp.models.HiddenOutputs(model, hidden={**hidden, "grouped": "pooled"})
    terms = {
        "hidden": [R.L1(STRENGTH), R.DeCov(STRENGTH)],
        "code": kp.losses.Center(3),
        "pooled": kp.losses.SupervisedContrastive(0.5),
        "grouped": kp.losses.MinDiff(0.5),
        ("hidden", "other"): R.VICReg(0.001),
    }
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy", hidden_losses=terms)
    return model


def train(rows=range(16), batch=8, only=(), epochs=2, alone=False):
    """What is logged, by name, and the weights, of a training on these rows of the data. `alone` says whether
    this process evaluates all rows by itself."""
    keras.utils.set_random_seed(0)
    model = network(only)
    x, y = np.random.RandomState(0).randn(17, 5, 3).astype("float32"), np.arange(17) % 3
    for i in range(17):
        x[i, 1 + i % 5 :] = 0
    every = x[:16], y[:16]
    x, y = x[list(rows)], y[list(rows)]
    logs = model.fit(x, y, batch_size=batch, epochs=epochs, shuffle=False, verbose=0).history
    if alone:
        (x, y), batch = every, 8
    evaluated = model.evaluate(x, y, batch_size=batch, verbose=0, return_dict=True)
    logs.update({f"evaluate {name}": [value] for name, value in evaluated.items()})
    return logs, model.get_weights()


def differences(one, other):
    """The largest differences between two trainings: of losses, terms and strengths relative to their size,
    with 0.01 for anything smaller; of weights absolutely."""
    assert set(one[0]) == set(other[0]), set(one[0]) ^ set(other[0])
    found = {"loss": 0.0, "terms": 0.0, "strengths": 0.0, "weights": 0.0}
    for name, values in one[0].items():
        a, b = np.asarray(values), np.asarray(other[0][name])
        kind = "loss" if name.endswith(" loss") or name == "loss" else "terms"
        kind = "strengths" if name.endswith("_strength") else kind
        found[kind] = max(found[kind], np.max(np.abs(a - b) / np.maximum(np.abs(a), 0.01)))
    for a, b in zip(one[1], other[1], strict=True):
        found["weights"] = max(found["weights"], np.max(np.abs(a - b), initial=0.0))
    return found


def free_port():
    """Where two processes of this machine can meet."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def tensorflow_devices(count):
    """Split the processor, before anything has used it."""
    import tensorflow as tf

    devices = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    # Rewriting the graphs takes longer than the steps do.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def on(count):
    """Where a model is made and trained on `count` devices."""
    if count == 1:
        return contextlib.nullcontext()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)]).scope()
    return keras.distribution.DataParallel(devices=keras.distribution.list_devices()[:count]).scope()


def model_parallel(count):
    """Two halves of the batch, on `count` devices each, which share the features of dense layers."""
    distribution = keras.distribution
    mesh = distribution.DeviceMesh((2, count), ["batch", "model"], distribution.list_devices()[: 2 * count])
    layout = distribution.LayoutMap(mesh)
    layout["(hidden|other|code)/kernel"] = (None, "model")
    layout["(hidden|other|code)/bias"] = ("model",)
    return distribution.ModelParallel(layout_map=layout, batch_dim_name="batch").scope()


def one_of_processes(i, count, port, only):
    """Join the other processes, and train on this one's part of each batch."""
    part = np.arange(16).reshape(2, count, -1)[:, i].ravel(), 8 // count, only
    if keras.backend.backend() == "torch":
        import torch

        join(i, count, port)
        with averaged_gradients():
            logs, weights = train(*part, alone=True)
        # Keras logs the loss of this process.
        losses = torch.tensor(logs["loss"])
        torch.distributed.all_reduce(losses)
        return {**logs, "loss": (losses / count).tolist()}, weights
    keras.distribution.initialize(f"localhost:{port}", count, i)
    # Else Keras takes a `tf.data.Dataset` alone, and deals it out itself.
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return train(*part)


def join(i, count, port):
    """Join the other processes of torch."""
    import torch

    torch.set_num_threads(1)
    place = f"tcp://localhost:{port}"
    torch.distributed.init_process_group("gloo", init_method=place, rank=i, world_size=count)


@contextlib.contextmanager
def averaged_gradients():
    """Give optimizers the mean of the gradients over the processes, as `DistributedDataParallel` does: `fit`
    on torch does not."""
    import torch

    own = keras.optimizers.SGD.apply

    def apply(self, gradients, variables=None):
        for gradient in gradients:
            torch.distributed.all_reduce(gradient)
            gradient /= torch.distributed.get_world_size()
        return own(self, gradients, variables)

    keras.optimizers.SGD.apply = apply
    try:
        yield
    finally:
        keras.optimizers.SGD.apply = own


def processes(folder, count, precision="float32", only=(), module=__name__, seconds=300):
    """The files that so many processes write which run `main` together; their errors are raised."""
    port = free_port()
    files = [folder / f"{i}-of-{count}-{precision}.npz" for i in range(count)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", module]
    running = [
        subprocess.Popen(
            [*command, f"process-{i}-{count}-{port}", precision, str(file), *only],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i, file in enumerate(files)
    ]
    try:
        for process in running:
            said = process.communicate(timeout=seconds)[1]
            assert process.returncode == 0, said[-4000:]
    finally:
        for process in running:
            process.kill()
    return files


def main(setup, precision, file, *only):
    keras.config.set_dtype_policy(precision)
    kind, count, *port = setup.split("-")
    count = int(count)
    if kind == "process":
        result = one_of_processes(count, int(port[0]), port[1], only)
    elif kind == "reversed":
        result = train(np.arange(16).reshape(-1, 8)[:, ::-1].ravel(), only=only)
    else:
        if keras.backend.backend() == "tensorflow":
            tensorflow_devices(count)
        if kind == "local":
            replicas.replicas = lambda: 1
        with model_parallel(count) if kind == "model" else on(count):
            result = train(only=only)
    save(file, *result)


def save(file, logs, weights):
    logs = {f"log {name}": values for name, values in logs.items()}
    np.savez(file, **logs, **{f"weight {i}": w for i, w in enumerate(weights)})


def load(file):
    """What `save` has written."""
    with np.load(file) as found:
        logs = {name[4:]: found[name] for name in found.files if name.startswith("log ")}
        return logs, [found[f"weight {i}"] for i in range(len(found.files) - len(logs))]


if __name__ == "__main__":
    main(*sys.argv[1:])
