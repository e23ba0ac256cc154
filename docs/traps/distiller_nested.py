"""A student's layer inside a nested model, matched with the teacher's layer."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

EXPECTED = 1.5  # half of 3 units * (2 - 1)**2

x, y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")


def network(name, bias):
    dense = layers.Dense(
        3,
        kernel_initializer="ones",
        bias_initializer=bias,
        name="hidden",
    )
    encoder = keras.Sequential(
        [keras.Input((2,)), dense, layers.Dense(3)],
        name="encoder",
    )
    return keras.Sequential([keras.Input((2,)), encoder, layers.Dense(1)], name=name)


student, teacher = network("student", "zeros"), network("teacher", "ones")


def plain_keras():
    hint = keras.distillation.FeatureDistillation(
        "mse",
        "encoder/hidden",
        "encoder/hidden",
    )
    distiller = keras.distillation.Distiller(
        teacher,
        student,
        hint,
        student_loss_weight=0.0,
    )
    distiller.compile("sgd", "mse")
    return distiller.evaluate(x, y, verbose=0, return_dict=True)["loss"]


def ours():
    teacher.trainable = False
    start = keras.Input((2,))
    both = keras.Model(start, {"answer": student(start), "target": teacher(start)})
    hidden = {
        "student": "student/encoder/hidden",
        "teacher": "teacher/encoder/hidden",
    }
    model = kp.models.HiddenOutputs(both, hidden=hidden)
    hint = {("student", "teacher"): kp.regularizers.Hint(1.0)}
    model.compile("sgd", {"answer": "mse", "target": None}, hidden_losses=hint)
    logs = model.evaluate(x, {"answer": y}, verbose=0, return_dict=True)
    return logs["student_teacher_loss"]
