"""Operations of a distillation step, as a multiple of the minimum."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp

BACKENDS = ("jax",)
EXPECTED = 1.0

x = np.ones((64, 128), "float32")


def network(name):
    hidden = [layers.Dense(128, "relu", name=f"hidden_{i}") for i in range(4)]
    return keras.Sequential(
        [keras.Input((128,)), layers.Dropout(0.3), *hidden, layers.Dense(128)],
        name=name,
    )


student, teacher = network("student"), network("teacher")
teacher.trainable = False

# Products of 64 x 128 x 128: 4 of the teacher up to that layer, 5 of the student,
# 5 for the gradients of its weights, and 4 for those of its activations.
BY_HAND = (4 + 5 + 5 + 4) * 2 * 64 * 128 * 128


def cost(model, y, **losses):
    import jax

    model.compile(keras.optimizers.SGD(0.1), **losses)
    model.train_on_batch(x, y)
    parts = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    state = tuple([v.value for v in variables] for variables in parts)
    counted = jax.jit(model.train_step).lower(state, (x, y)).compile().cost_analysis()
    return round(counted["flops"] / BY_HAND, 1)


def plain_keras():
    hint = keras.distillation.FeatureDistillation("mse", "hidden_3", "hidden_3")
    return cost(keras.distillation.Distiller(teacher, student, hint), x, loss="mse")


def ours():
    start = keras.Input((128,))
    target = keras.Model(
        teacher.inputs,
        teacher.get_layer("hidden_3").output,
        name="target",
    )
    both = keras.Model(start, {"answer": student(start), "target": target(start)})
    model = kp.models.HiddenOutputs(
        both,
        hidden={"hidden": "student/hidden_3", "target": "target"},
    )
    hint = {("hidden", "target"): kp.regularizers.Hint(1.0)}
    return cost(
        model,
        {"answer": x},
        loss={"answer": "mse", "target": None},
        hidden_losses=hint,
    )
