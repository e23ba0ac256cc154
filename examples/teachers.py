"""Which penalty helps a student to learn from a layer of its teacher? Several, and none, on real digits.

A convolutional student with 4 channels learns 300 digits, from the labels and from one layer of a teacher
with 32 channels that learned 4,000. Run it from a clone with

    python examples/teachers.py --out out
"""

import time

from _common import BLUE, GREY, ORANGE, arguments_of, load_digits, of_seeds, pyplot

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

R = kp.regularizers
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
# By name: the penalty, and the layer that it compares.
WAYS = {
    "no teacher": None,
    "Hint, projected": (R.Hint(1.0, per="element", projection=True), "features"),
    "AttentionTransfer": (R.AttentionTransfer(1000.0, distance="mean_squared"), "maps"),
    "RelationalKD": (R.RelationalKD(25.0), "features"),
    "CKA": (R.CKA(1.0, detach="second"), "features"),
}


def network(channels):
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(channels, 5, strides=2, activation="relu"),
            layers.Conv2D(channels, 3, strides=2, activation="relu", name="maps"),
            layers.Flatten(),
            layers.Dense(2 * channels, activation="relu", name="features"),
            layers.Dense(10, name="logits"),
        ]
    )


def with_teacher(student, teacher, penalty, name):
    """A model that returns the student's answers, and compares one of its layers with the teacher's."""
    inputs = keras.Input((28, 28, 1))
    read = keras.Model(teacher.inputs, teacher.get_layer(name).output)(inputs)
    h = inputs
    for layer in student.layers:
        h = layer(h)
        if layer.name == name:
            h, _ = kp.layers.ActivityPenalty(penalty, name="penalty")([h, read])
    return keras.Model(inputs, h)


def accuracy(model, x, y):
    return float(np.mean(model.predict(x, batch_size=1000, verbose=0).argmax(axis=-1) == y))


def draw(accuracies, of_teacher, path):
    plt = pyplot()
    fig, axis = plt.subplots(figsize=(9, 5.4), layout="constrained")
    fig.suptitle(
        "A student with 4 channels and 300 digits, and one layer of a teacher", fontsize=15, fontweight="bold"
    )
    for place, values in enumerate(accuracies.values()):
        colour = BLUE if place else ORANGE
        axis.plot([place - 0.25, place + 0.25], [np.mean(values)] * 2, color=colour, lw=4)
        axis.plot([place] * len(values), values, "o", color=colour, ms=8, alpha=0.6)
    axis.axhline(np.mean(of_teacher), color=GREY, ls="--", lw=2)
    axis.text(
        4.4,
        np.mean(of_teacher) - 0.002,
        "teacher, 32 channels, 4,000 digits",
        color=GREY,
        ha="right",
        va="top",
    )
    axis.set_xticks(range(len(accuracies)), accuracies)
    axis.set(ylabel="accuracy on 1,000 new digits", xlim=(-0.5, 4.5))
    axis.grid(axis="y", alpha=0.3)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main():
    arguments, start = arguments_of(__doc__, epochs=30), time.perf_counter()
    x, y = load_digits()
    few, all_of_them, new = (x[1000:1300], y[1000:1300]), (x[1000:], y[1000:]), (x[:1000], y[:1000])
    accuracies, of_teacher = {way: [] for way in WAYS}, []
    for seed in range(arguments.seeds):
        keras.utils.set_random_seed(seed)
        teacher = network(32)
        teacher.compile("adam", CROSS_ENTROPY)
        teacher.fit(*all_of_them, batch_size=50, epochs=5, verbose=0)
        teacher.trainable = False
        of_teacher.append(accuracy(teacher, *new))
        for way, chosen in WAYS.items():
            keras.utils.set_random_seed(seed)
            student = network(4)
            if chosen is None:
                model = student
            else:
                penalty, name = chosen
                model = with_teacher(student, teacher, type(penalty).from_config(penalty.get_config()), name)
            model.compile(keras.optimizers.Adam(0.003), CROSS_ENTROPY)
            model.fit(*few, batch_size=50, epochs=arguments.epochs, verbose=0)
            accuracies[way].append(accuracy(student, *new))
    print(f"teacher: {of_seeds(of_teacher)}")
    for way, values in accuracies.items():
        print(f"{way}: {of_seeds(values)}")
    draw(accuracies, of_teacher, arguments.out / "teachers.png")
    print(f"{time.perf_counter() - start:.0f} s, figure: {arguments.out / 'teachers.png'}")


if __name__ == "__main__":
    main()
