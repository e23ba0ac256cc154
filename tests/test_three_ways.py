"""Every penalty: the same batch and strength give one loss and one step, by each way to attach it."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.contracts import PENALTIES
from tests.layers.networks import data, hidden, hidden_then_head, main_loss
from tests.support.helpers import to_numpy

WAYS = ("argument", "layer", "hidden output")
CASES = [case for case in PENALTIES if case.axis == -1 and case.takes((5, 4))]


def attach(penalty, way, **options):
    options = {"optimizer": keras.optimizers.SGD(0.01), "loss": "mse", **options}
    if way == "hidden output":
        model = kp.models.HiddenOutputs(hidden_then_head(), hidden=["hidden"])
        model.compile(hidden_losses={"hidden": penalty}, **options)
    else:
        model = hidden_then_head(penalty, way)
        model.compile(**options)
    return model


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_number_and_one_step(case):
    x, y = data(5)
    start = hidden_then_head().get_weights()
    main, added = main_loss(start, x, y), case.added(hidden(start, x))
    # As strong as the main loss, so that nothing of the penalty can be missed.
    factor = 1.0 if case.in_measure else main / added
    penalty = case.make(**{name: factor * strength for name, strength in case.strengths.items()})
    weights = []
    for way in case.ways(WAYS):
        model = attach(penalty, way)
        logs = model.fit(x, y, batch_size=5, verbose=0).history
        np.testing.assert_allclose(logs["loss"], [main + factor * added], rtol=5e-6, err_msg=way)
        weights.append([to_numpy(variable) for variable in model.trainable_variables])
    for other in weights[1:]:
        for ours, theirs in zip(other, weights[0], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
