"""What a penalty by name costs on PyTorch, counted in operations of a training step, not in time."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp

pytestmark = pytest.mark.backends("torch")
COUNT = 6


def mlp(regularizer=None):
    start = h = keras.Input((8,))
    for i in range(COUNT):
        h = layers.Dense(8, activation="relu", name=f"hidden_{i}", activity_regularizer=regularizer)(h)
    return keras.Model(start, layers.Dense(1)(h))


def operations(model) -> int:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.count += 1
            return function(*args, **(kwargs or {}))

    model.compile(keras.optimizers.SGD(0.1), "mse")
    x, y = np.ones((4, 8), "float32"), np.ones((4, 1), "float32")
    model.train_on_batch(x, y)
    with Counting() as counting:
        model.train_on_batch(x, y)
    return counting.count


def test_l2_by_name_costs_six_operations_more_than_keras_own():
    """They are those of the mean in the logs."""
    theirs = operations(mlp(keras.regularizers.L2(1e-3)))
    ours = operations(kp.penalize(mlp(), {"hidden_?": kp.regularizers.L2(1e-3)}))
    assert operations(mlp()) < theirs
    assert ours <= theirs + 6 * COUNT
