"""`MinDiff` between groups: its two forms, and a model whose answers differ less for them."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.support.helpers import to_numpy


def mmd_loss(membership, predictions, length):
    """`MMDLoss` of TensorFlow Model Remediation with its Gaussian kernel."""
    kernel = np.exp(-np.square(predictions[:, None] - predictions[None]).sum(axis=2) / length**2)
    p, n = membership == 1, membership == 0
    return kernel[p][:, p].mean() - 2 * kernel[p][:, n].mean() + kernel[n][:, n].mean()


@pytest.mark.parametrize("length", [0.1, 1.0])
def test_of_two_groups_is_the_loss_of_model_remediation(length):
    random = np.random.default_rng(0)
    groups = (np.arange(20) % 3 == 0).astype("float32")
    answers = random.uniform(size=(20, 1)).astype("float32")
    found = float(kp.losses.MinDiff(length)(groups, answers))
    np.testing.assert_allclose(found, mmd_loss(groups, answers, length), rtol=1e-4, atol=1e-6)


def test_of_several_groups_is_the_mean_over_pairs_of_them():
    random = np.random.default_rng(0)
    groups, rows = np.arange(12) % 3, random.normal(size=(12, 2)).astype("float32")
    loss, pairs = kp.losses.MinDiff(1.0), []
    for left_out in range(3):
        kept = groups != left_out
        pairs.append(float(loss(groups[kept], rows[kept])))
    np.testing.assert_allclose(float(loss(groups, rows)), np.mean(pairs), rtol=1e-5)


def test_is_0_for_equal_groups_and_never_negative():
    random = np.random.default_rng(0)
    rows = random.normal(size=(6, 2)).astype("float32")
    twice, groups = np.concatenate([rows, rows]), np.repeat([0, 1], 6)
    np.testing.assert_allclose(float(kp.losses.MinDiff(1.0)(groups, twice)), 0.0, atol=1e-6)
    for seed in range(5):
        groups = np.random.default_rng(seed).integers(0, 3, 12)
        assert float(kp.losses.MinDiff(1.0)(groups, twice)) > -1e-6


def test_makes_answers_alike_for_two_groups():
    """The label depends on the group; the groups come from an input that the model does not see."""
    random = np.random.default_rng(0)
    group = np.repeat([0, 1], 64)
    x = (random.normal(size=(128, 3)) + group[:, None] * np.array([2.0, 0.0, 0.0])).astype("float32")
    y = (x[:, 0] + x[:, 1] > 1.0).astype("float32")
    gaps = []
    for weight in (0.0, 3.0):
        keras.utils.set_random_seed(0)
        start = keras.Input((3,), name="x")
        answer = keras.layers.Dense(1, activation="sigmoid", name="answer")(start)
        model = kp.models.HiddenOutputs(keras.Model(start, {"answer": answer}), hidden={"told": "answer"})
        model.compile(
            keras.optimizers.Adam(0.05),
            {"answer": "binary_crossentropy"},
            hidden_losses={"told": kp.losses.MinDiff(0.3)},
            hidden_loss_weights={"told": weight},
            hidden_targets={"told": "group"},
        )
        model.fit(x, {"answer": y, "group": group}, batch_size=128, epochs=60, verbose=0)
        p = to_numpy(model(x)["answer"])[:, 0]
        gaps.append(abs(p[group == 1].mean() - p[group == 0].mean()))
    assert gaps[1] < 0.6 * gaps[0]
