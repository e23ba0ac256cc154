"""A small student learns digits without a teacher, from its soft targets, and from a hint as well.

The student has 16 units per layer and learns an eighth of the digits. Only the student is saved.
Run it from a clone with

    python examples/distillation.py --out out
"""

import time

from _common import BLUE, GREY, ORANGE, PINK, arguments_of, load_digits, of_seeds, pyplot

import keras
import numpy as np

import keras_penalties as kp

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
WAYS = ("no teacher", "soft targets", "soft targets\nand a hint", "keras.distillation")
TEMPERATURE, SHARE = 4.0, 0.9  # of the soft targets, and what is left to the labels


def network(units, name):
    layers = [
        keras.layers.Flatten(),
        keras.layers.Dense(units, activation="relu"),
        keras.layers.Dense(units, activation="relu", name="features"),
        keras.layers.Dense(10, name="logits"),
    ]
    return keras.Sequential([keras.Input((28, 28, 1)), *layers], name=name)


def with_teacher(student, teacher, hint):
    """A model around both, compiled, which compares the student with the teacher."""
    inputs = keras.Input((28, 28, 1))
    both = keras.Model(inputs, {"answer": student(inputs), "teacher": teacher(inputs)})
    logits, features = ((f"student/{name}", f"teacher/{name}") for name in ("logits", "features"))
    soft = kp.regularizers.Match(SHARE, "kl_divergence", detach="second", temperature=TEMPERATURE)
    losses = {logits: soft}
    if hint:  # a projection, which is learned, brings the student's features to the teacher's size
        losses[features] = kp.regularizers.Hint(1.0, per="element", projection=True)
    model = kp.models.HiddenOutputs(both, hidden=[*logits, *features])
    model.compile(
        keras.optimizers.Adam(0.003),
        {"answer": CROSS_ENTROPY},
        loss_weights={"answer": 1 - SHARE},
        hidden_losses=losses,
    )
    return model


def train(student, teacher, way, data, epochs):
    """Train the student in one of the four ways; it is changed in place."""
    x, y = data
    if way.startswith("soft"):
        model, y = with_teacher(student, teacher, hint="hint" in way), {"answer": y}
    else:
        model = student
        if way.startswith("keras"):
            loss = keras.distillation.LogitsDistillation(TEMPERATURE, keras.losses.KLDivergence())
            model = keras.distillation.Distiller(teacher, student, loss, student_loss_weight=1 - SHARE)
        model.compile(keras.optimizers.Adam(0.003), CROSS_ENTROPY)
    model.fit(x, y, batch_size=50, epochs=epochs, verbose=0)


def accuracy(model, x, y):
    return float(np.mean(model.predict(x, batch_size=1000, verbose=0).argmax(axis=-1) == y))


def draw(accuracies, of_teacher, path):
    """A point for each student, a line for their mean, and a line for the teacher."""
    plt = pyplot()
    fig, axis = plt.subplots(figsize=(9, 5.4), layout="constrained")
    title = "A student of 16 units with 500 digits learns more from a teacher"
    fig.suptitle(title, fontsize=15, fontweight="bold")
    for place, (values, colour) in enumerate(
        zip(accuracies.values(), (ORANGE, BLUE, BLUE, PINK), strict=True)
    ):
        axis.plot([place - 0.25, place + 0.25], [np.mean(values)] * 2, color=colour, lw=4)
        axis.plot([place] * len(values), values, "o", color=colour, ms=8, alpha=0.6)
    axis.axhline(np.mean(of_teacher), color=GREY, ls="--", lw=2)
    label = "teacher, 256 units, 4,000 digits"
    axis.text(3.4, np.mean(of_teacher) - 0.002, label, color=GREY, ha="right", va="top")
    axis.set_xticks(range(len(accuracies)), accuracies)
    axis.set(ylabel="accuracy on 1,000 new digits", xlim=(-0.5, 3.5))
    axis.grid(axis="y", alpha=0.3)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main():
    arguments, start = arguments_of(__doc__, epochs=40), time.perf_counter()
    x, y = load_digits()
    few, all_of_them, new = (x[1000:1500], y[1000:1500]), (x[1000:], y[1000:]), (x[:1000], y[:1000])
    accuracies, of_teacher = {way: [] for way in WAYS}, []
    for seed in range(arguments.seeds):
        keras.utils.set_random_seed(seed)
        teacher = network(256, "teacher")
        teacher.compile("adam", CROSS_ENTROPY)
        teacher.fit(*all_of_them, batch_size=50, epochs=10, verbose=0)
        teacher.trainable = False
        of_teacher.append(accuracy(teacher, *new))
        for way in WAYS:
            keras.utils.set_random_seed(seed)
            student = network(16, "student")
            train(student, teacher, way, few, arguments.epochs)
            accuracies[way].append(accuracy(student, *new))
    student.save(
        arguments.out / "student.keras"
    )  # a plain Keras model: neither teacher nor penalties are in it
    plain = keras.saving.load_model(arguments.out / "student.keras")
    print(f"teacher {teacher.count_params():,} weights, student {plain.count_params():,}")
    print(f"teacher: {of_seeds(of_teacher)}")
    for way, values in accuracies.items():
        print(f"{' '.join(way.split())}: {of_seeds(values)}")
    draw(accuracies, of_teacher, arguments.out / "distillation.png")
    print(f"{time.perf_counter() - start:.0f} s, figure: {arguments.out / 'distillation.png'}")


if __name__ == "__main__":
    main()
