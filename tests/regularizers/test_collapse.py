"""Penalties against collapse: what they see of a collapsed batch, and what follows from their formulas."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.support.helpers import gradient

R = kp.regularizers


def drawn(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_koleo_is_the_code_of_dinov2():
    """`KoLeoLoss` of DINOv2, which adds 1e-8 to each difference too."""
    x = drawn(12, 5)
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    products = units @ units.T
    np.fill_diagonal(products, -1.0)
    nearest = products.argmax(axis=1)
    distances = np.linalg.norm(units - units[nearest] + 1e-8, axis=1)
    expected = -np.log(distances + 1e-8).mean()
    np.testing.assert_allclose(float(R.KoLeo(1.0).measure(x)), expected, rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 3.0], ids=["equal", "equal in direction"])
def test_koleo_of_rows_that_are_equal(scale):
    x = drawn(4, 3)
    x[1] = scale * x[0]
    penalty = R.KoLeo(1.0)
    assert 8.0 < float(penalty.measure(x)) < 10.0  # two of four rows add -log(1e-8)
    slope = gradient(penalty.measure, x)
    assert np.all(np.isfinite(slope)) and np.abs(slope).max() < 10.0


def test_koleo_separates_rows_that_are_nearly_equal():
    x = (1.0 + 1e-3 * drawn(8, 3)).astype("float32")
    moved, penalty = x.copy(), R.KoLeo(1.0)
    for _ in range(50):
        moved -= 1e-5 * gradient(penalty.measure, moved)
    assert float(penalty.measure(moved)) < float(penalty.measure(x)) - 0.5


def test_marginal_entropy_leaves_rows_as_sure_as_they_are():
    sure = np.eye(3, dtype="float32")
    collapsed = sure[[0, 0, 0]]
    assert float(R.MarginalEntropy(1.0).measure(sure)) == 0.0
    np.testing.assert_allclose(float(R.MarginalEntropy(1.0).measure(collapsed)), np.log(3.0), rtol=1e-6)
    slope = gradient(R.MarginalEntropy(1.0).measure, collapsed)
    assert np.all(np.isfinite(slope)) and np.all(slope[:, 0] > slope[:, 1])


def test_of_one_row_marginal_entropy_is_confidence():
    x = drawn(1, 5)
    found = [float(cls(1.0, from_logits=True).measure(x)) for cls in (R.MarginalEntropy, R.Confidence)]
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_marginal_entropy_makes_a_clustering_use_all_clusters():
    keras.utils.set_random_seed(0)
    x = np.repeat(4.0 * np.eye(3), 10, axis=0).astype("float32") + 0.3 * drawn(30, 3)
    start = keras.Input((3,))
    logits = keras.layers.Dense(
        3, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant([2, 0, 0])
    )(start)
    penalties = [R.MarginalEntropy(2.0, from_logits=True), R.Entropy(0.5, from_logits=True)]
    model = keras.Model(start, kp.layers.ActivityPenalty(penalties)(logits))
    model.compile(keras.optimizers.Adam(0.1))
    before = float(R.MarginalEntropy(1.0, from_logits=True).measure(model.predict(x, verbose=0)))
    model.fit(x, batch_size=30, epochs=20, verbose=0)
    assert float(R.MarginalEntropy(1.0, from_logits=True).measure(model.predict(x, verbose=0))) < 0.2 * before


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: R.KoLeo(1.0, eps=0.0), ValueError, "`eps` of KoLeo must be .*> 0"),
        (lambda: R.KoLeo(1.0, axis=0), ValueError, "`axis` of KoLeo must come after the batch"),
        (
            lambda: R.MarginalEntropy(1.0, "yes"),
            TypeError,
            "`from_logits` of MarginalEntropy must be True or",
        ),
    ],
)
def test_arguments_that_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
