"""`InfoNCE` and `TripletMargin` compared with other libraries, or with their formulas."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.support.helpers import gradient

R = kp.regularizers


def drawn(count=2, shape=(6, 4)):
    return np.random.default_rng(0).normal(size=(count, *shape)).astype("float32")


def units(x):
    x = np.asarray(x, "float64")
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def cross_entropy(logits, labels):
    """The mean over the rows, as `torch.nn.CrossEntropyLoss` takes it."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels])


def simclr(a, b, temperature):
    """lightly's `NTXentLoss` without a memory bank: cross-entropy over the rows of both views but oneself."""
    a, b, n = units(a), units(b), len(a)
    others = ~np.eye(n, dtype=bool)
    rows = [np.hstack([p @ q.T, (p @ p.T)[others].reshape(n, -1)]) for p, q in ((a, b), (b, a))]
    return cross_entropy(np.vstack(rows) / temperature, np.tile(np.arange(n), 2))


def clip(a, b, temperature):
    """The pseudocode of Radford et al. 2021, figure 3; OpenCLIP's `ClipLoss`."""
    logits, labels = units(a) @ units(b).T / temperature, np.arange(len(a))
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


@pytest.mark.parametrize("temperature", [0.02, 0.5])
@pytest.mark.parametrize("rows", [2, 9])
def test_is_simclr_and_clip(temperature, rows):
    a, b = drawn(shape=(rows, 5))
    found = float(R.InfoNCE(1.0, temperature).measure([a, b]))
    np.testing.assert_allclose(found, simclr(a, b, temperature), rtol=1e-5)
    found = float(R.InfoNCE(1.0, temperature, negatives="other_view").measure([a, b]))
    np.testing.assert_allclose(found, clip(a, b, temperature), rtol=1e-5)
    one = R.InfoNCE(1.0, temperature, negatives="other_view", symmetric=False)
    expected = cross_entropy(units(a) @ units(b).T / temperature, np.arange(rows))
    np.testing.assert_allclose(float(one.measure([a, b])), expected, rtol=1e-5)


@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_is_the_loss_with_labels_on_both_views_in_one_batch(masked):
    a, b = drawn()
    kept = np.array([True, True, False, True, True, False]) if masked else np.ones(6, bool)
    ids = np.tile(np.arange(kept.sum()), 2)

    def labelled(x):
        return kp.losses.NTXent(0.1)(ids, keras.ops.concatenate([x[0][kept], x[1][kept]]))

    penalty, both = R.InfoNCE(1.0, 0.1), np.stack([a, b])
    mask = kept if masked else None
    np.testing.assert_allclose(float(penalty.measure([a, b], mask)), float(labelled(both)), rtol=1e-5)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("margin", [0.5, 2.0])
def test_is_the_triplet_loss_of_pytorch(margin):
    import torch

    xs = drawn(3)
    theirs = torch.nn.TripletMarginLoss(margin=margin)(*map(torch.tensor, xs))
    found = float(R.TripletMargin(1.0, margin=margin).measure(list(xs)))
    np.testing.assert_allclose(found, float(theirs), rtol=1e-5)


@pytest.mark.parametrize("distance", ["euclidean", "squared", "cosine"])
def test_equal_rows_have_a_finite_gradient(distance):
    x = np.ones((4, 3), "float32")
    penalty = R.TripletMargin(1.0, margin=0.5, distance=distance)
    for i in range(3):
        slope = gradient(lambda a, i=i: penalty.measure([a if k == i else x for k in range(3)]), x)
        assert np.all(np.isfinite(slope))
    assert float(penalty.measure([x, x, x])) == 0.5


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: R.InfoNCE(1.0, temperature=0.0), ValueError, "`temperature` of InfoNCE must be .*> 0"),
        (lambda: R.InfoNCE(1.0, symmetric="yes"), TypeError, "`symmetric` of InfoNCE must be True or False"),
        (
            lambda: R.InfoNCE(1.0, negatives="across"),
            ValueError,
            "`negatives` of InfoNCE must be one of 'both_views', 'other_view'",
        ),
        (lambda: R.InfoNCE(1.0, axis=0), ValueError, "`axis` of InfoNCE must come after the batch"),
        (lambda: R.TripletMargin(1.0, margin=0.0), ValueError, "`margin` of TripletMargin must be .*> 0"),
        (
            lambda: R.TripletMargin(1.0, distance="l2"),
            ValueError,
            "`distance` of TripletMargin must be one of 'euclidean', 'squared', 'cosine'",
        ),
        (lambda: R.TripletMargin(1.0).measure(drawn(2)), ValueError, "TripletMargin compares 3 tensors"),
    ],
)
def test_arguments_that_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_simclr_trains_with_fit_and_no_labels():
    """Two views are drawn inside the model; nothing but the penalty is added to the loss."""
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    inputs = keras.Input((8,))
    encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(4)])
    views = [encoder(keras.layers.GaussianNoise(0.3, seed=seed)(inputs)) for seed in (1, 2)]
    model = keras.Model(inputs, kp.layers.ActivityPenalty(R.InfoNCE(1.0, 0.5), name="views")(views))
    model.compile(keras.optimizers.Adam(0.01))
    logs = model.fit(x, batch_size=16, epochs=5, verbose=0).history
    assert logs["views"][-1] < 0.95 * logs["views"][0]
    np.testing.assert_allclose(logs["loss"], logs["views"], rtol=1e-5)
    model.compile("adam", loss=None)
    assert set(model.evaluate(x, verbose=0, return_dict=True)) == {"loss", "views"}
