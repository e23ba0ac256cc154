"""Does my penalty do anything? Three penalties that do not, and the corrected network.

A convolutional network reads 4,000 MNIST digits row by row. `kp.audit` shows what each penalty does in a
training step, and `kp.plot_penalties` what it did over the epochs. The same numbers are in the CSV file, in
TensorBoard's file, and in the output of a SavedModel that needs neither Keras nor this package. From a clone:

    python examples/see_what_it_does.py --out out
"""

import argparse
import csv
import shutil
import time
from pathlib import Path

from _common import in_new_process, load_digits, pyplot

import keras
import numpy as np
import tensorflow as tf

import keras_penalties as kp

R, L = kp.regularizers, keras.layers
HELD_OUT, BATCH, EPOCHS = 1000, 100, 8
STEPS = EPOCHS * (5000 - HELD_OUT) // BATCH

ASK_WITH_TENSORFLOW = """
import sys, json, numpy as np
sys.modules["keras"] = sys.modules["keras_penalties"] = None  # importing them fails
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1])
answers = served.penalties(np.load(sys.argv[2])["x"])
print(json.dumps({name: float(value) for name, value in answers.items()}))
"""


def strengths():
    """Four penalties: two with a fixed strength, one that warms up, one with a target."""
    return {
        "few_maps": 0.01,
        "quiet_rows": keras.optimizers.schedules.PolynomialDecay(0.0, STEPS // 2, 0.002),
        "activity": kp.schedules.Target(0.2, rate=0.05, initial=0.1),
        "calm_logits": 0.003,
    }


def network(strengths, broken=False):
    """Convolution, rows, a dense layer, logits; `broken` as it was first written."""
    keras.utils.set_random_seed(0)
    s = strengths

    def penalize(h, name, penalty):
        return kp.layers.ActivityPenalty(penalty, name=name)(h)

    digits = keras.Input((28, 28, 1), name="digits")
    h = L.Conv2D(8, 5, strides=2, activation="relu", name="maps")(digits)
    h = penalize(h, "few_maps", R.GroupLasso(s["few_maps"], axis=(1, 2)))
    h = L.Reshape((12, 96))(h)
    if broken:  # a wrapper drops it; its value depends on Keras; its strength was a slip of the keyboard
        quiet, stock = R.L1(0.002), keras.regularizers.L2(0.001)
        h = L.TimeDistributed(
            L.Dense(16, activation="relu", activity_regularizer=quiet, name="row"), name="rows"
        )(h)
        h = L.Dense(64, activation="relu", activity_regularizer=stock, name="hidden")(L.Flatten()(h))
        s = {**s, "calm_logits": 1e-8}
    else:
        h = L.TimeDistributed(L.Dense(16, activation="relu", name="row"), name="rows")(h)
        h = penalize(h, "quiet_rows", R.L1(s["quiet_rows"]))
        h = L.Dense(64, activation="relu", name="hidden")(L.Flatten()(h))
        h = penalize(h, "activity", R.L1(s["activity"], per="element"))
    h = penalize(L.Dense(10, name="logits")(h), "calm_logits", R.ZLoss(s["calm_logits"]))
    model = keras.Model(digits, L.Softmax()(h), name="digits")
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(model, data, held_out, callbacks=()):
    options = {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0, "callbacks": list(callbacks)}
    return model.fit(*data, validation_data=held_out, validation_batch_size=HELD_OUT, **options)


def read_csv(path):
    """The columns of a `CSVLogger`, as `History.history` has them."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: [float(row[key]) for row in rows] for key in rows[0] if key != "epoch"}


def read_tensorboard(folder):
    """The scalars of a `TensorBoard` callback, under the keys of `History.history`."""
    found: dict = {}
    for part, prefix in (("train", ""), ("validation", "val_")):
        for path in sorted((folder / part).glob("events.out.tfevents.*")):
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                for value in event.summary.value:
                    if value.tag.startswith("epoch_"):
                        key = prefix + value.tag.removeprefix("epoch_")
                        found.setdefault(key, []).append(float(tf.make_ndarray(value.tensor)))
    return found


def export(model, logs, folder):
    """A SavedModel with an endpoint that returns the value of each penalty on a batch, by name."""
    watched = [layer for layer in model.layers if isinstance(layer, kp.layers.ActivityPenalty)]
    probe = keras.Model(model.input, {layer.name: layer.input for layer in watched})

    def penalties(x):
        values, hidden = {}, probe(x)
        for layer in watched:
            strength = logs.get(f"{layer.name}_strength", layer.penalty.strength)
            values[layer.name] = strength * layer.penalty.measure(hidden[layer.name])
        return values

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model, input_signature=[tf.TensorSpec((None, 28, 28, 1))])
    archive.add_endpoint("penalties", penalties, input_signature=[tf.TensorSpec((None, 28, 28, 1))])
    archive.write_out(folder, verbose=False)


def largest_difference(logs, others):
    """Relative differences between the same keys. TensorBoard also has the learning rate."""
    assert set(logs) == set(others) - {"learning_rate"}, set(logs) ^ set(others)
    return max(np.max(np.abs(np.divide(others[k], logs[k]) - 1)) for k in logs if np.all(logs[k]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for files and figures")
    out, start = parser.parse_args().out, time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    plt = pyplot()
    x, y = load_digits()
    data, held_out = (x[HELD_OUT:], y[HELD_OUT:]), (x[:HELD_OUT], y[:HELD_OUT])
    batch = data[0][:BATCH], data[1][:BATCH]

    broken = kp.audit(network(strengths(), broken=True), *batch)
    print(broken)
    model = network(strengths())
    first = kp.audit(model, *batch)
    print(first)

    board, log = out / "tensorboard", out / "log.csv"
    shutil.rmtree(board, ignore_errors=True)  # another run's would be read too
    callbacks = keras.callbacks.CSVLogger(log), keras.callbacks.TensorBoard(board)
    history = train(model, data, held_out, callbacks)
    differences = [largest_difference(history.history, r) for r in (read_csv(log), read_tensorboard(board))]
    kp.plot_penalties(history).savefig(out / "see_the_epochs.png", dpi=110)

    plain = network(dict.fromkeys(strengths(), 0.0))
    accuracy_plain = train(plain, data, held_out).history["val_accuracy"][-1]
    last = kp.audit(model, *held_out)
    last.plot(before=kp.audit(plain, *held_out)).savefig(out / "see_what_it_does.png", dpi=110)
    plt.close("all")
    print(last)

    logs = model.evaluate(*held_out, batch_size=HELD_OUT, verbose=0, return_dict=True)
    export(model, logs, out / "watched")
    np.savez(out / "batch.npz", x=held_out[0])
    answers = in_new_process(ASK_WITH_TENSORFLOW, out / "watched", out / "batch.npz")
    served = largest_difference({name: logs[name] for name in answers}, answers)
    print("served:", ", ".join(f"{name} {value:.4g}" for name, value in answers.items()))
    print(
        f"{len(broken.problems)} of {len(broken.records)} penalties had a problem, "
        f"{len(first.problems)} of {len(first.records)} in the corrected network; the CSV and TensorBoard "
        f"have the same {len(history.history)} keys, off by at most {max(differences):.0e}; the SavedModel "
        f"is off by {served:.0e}; "
        f"accuracy {accuracy_plain:.1%} without, {history.history['val_accuracy'][-1]:.1%} with them; "
        f"{time.perf_counter() - start:.0f} s, {time.process_time():.0f} s of CPU"
    )
    if first.problems or last.problems or max(*differences, served) > 1e-4:
        raise RuntimeError("the corrected model has a problem, or the logs do not agree")


if __name__ == "__main__":
    main()
