"""Published numbers, agreement with Keras, and what each loss refuses."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from tests.support.helpers import to_numpy

L = kp.losses
ROWS = np.array([[0, 0.7, 0, 0, 0.3], [0, 0.6, 0.3, 0, 0.1]], "float32")
LABELS = np.eye(5, dtype="float32")[[4, 1]]


def test_the_two_rows_of_the_article():
    ours = float(L.CategoricalCrossentropy()(LABELS, ROWS))
    assert ours == pytest.approx(0.8573992, abs=1e-6)
    assert ours == pytest.approx(float(keras.losses.CategoricalCrossentropy()(LABELS, ROWS)), abs=1e-6)


def test_where_a_label_meets_a_probability_of_zero_the_floor_stands():
    q = np.array([[1.0, 0.0]], "float32")
    assert float(L.CategoricalCrossentropy()([[0.0, 1.0]], q)) == pytest.approx(-np.log(1e-7), rel=1e-6)
    assert float(L.CategoricalCrossentropy()([[1.0, 0.0]], q)) == 0.0


def test_an_ignored_class_does_not_count_in_the_mean():
    loss = L.CategoricalCrossentropy(ignore_class=4)
    assert float(loss(LABELS, ROWS)) == pytest.approx(-np.log(0.6), rel=1e-5)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Identity()])
    model.compile(loss=loss)
    assert float(model.evaluate(ROWS, LABELS, verbose=0)) == pytest.approx(-np.log(0.6), rel=1e-5)


def test_agrees_with_keras_on_logits_and_smoothing():
    random = np.random.RandomState(0)
    z = random.randn(6, 5).astype("float32") * 4
    y = np.eye(5, dtype="float32")[random.randint(0, 5, 6)]
    for options in ({"from_logits": True}, {"from_logits": True, "label_smoothing": 0.2}):
        expected = float(keras.losses.CategoricalCrossentropy(**options)(y, z))
        assert float(L.CategoricalCrossentropy(**options)(y, z)) == pytest.approx(expected, rel=1e-5)


def test_huber_is_keras_own():
    random = np.random.RandomState(0)
    y, p = random.randn(2, 5, 3).astype("float32")
    expected = float(keras.losses.Huber(delta=0.3)(y, p))
    assert float(L.Huber(0.3)(y, p)) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(
        to_numpy(L.huber(y, p, 0.3)), to_numpy(keras.losses.huber(y, p, delta=0.3)), 1e-6
    )


def test_huber_is_that_of_torch():
    torch = pytest.importorskip("torch")
    y, p = np.random.RandomState(0).randn(2, 50, 3).astype("float32")
    for threshold in (0.1, 0.3, 1.0, 5.0):
        expected = float(torch.nn.HuberLoss(delta=threshold)(torch.tensor(p), torch.tensor(y)))
        assert float(L.Huber(threshold)(y, p)) == pytest.approx(expected, rel=1e-6)


def test_the_weighted_losses_are_weighted_means_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    y, p = np.random.RandomState(0).rand(2, 50).astype("float32")
    larger = np.maximum(y, p)
    for loss, weight in (
        (L.AmplitudeWeightedMSE(rate=5.0), np.exp(5.0 * y.astype("float64"))),
        (L.AmplitudeWeightedMSE(rate=1.5), np.exp(1.5 * y.astype("float64"))),
        (L.DualWeightedMSE(gamma=2.0), larger.astype("float64") ** 2),
        (L.DualWeightedMSE(gamma=0.5), larger.astype("float64") ** 0.5),
    ):
        # scikit-learn divides by the sum of the weights, these losses by the number of rows
        expected = metrics.mean_squared_error(y, p, sample_weight=weight) * weight.mean()
        assert float(loss(y[:, None], p[:, None])) == pytest.approx(expected, rel=1e-5)


def test_without_a_weight_the_weighted_losses_are_the_mean_squared_error():
    random = np.random.RandomState(0)
    y, p = random.rand(2, 5, 3).astype("float32")
    expected = to_numpy(keras.losses.mean_squared_error(y, p))
    np.testing.assert_allclose(to_numpy(L.amplitude_weighted_mse(y, p, rate=0.0)), expected, rtol=1e-6)
    np.testing.assert_allclose(to_numpy(L.dual_weighted_mse(y, p, gamma=0.0)), expected, rtol=1e-6)


def test_half_precision_does_not_overflow_where_float16_would():
    y, p = ops.cast([[3.0]], "float16"), ops.cast([[2.0]], "float16")
    assert float(ops.exp(ops.cast([[15.0]], "float16"))[0, 0]) == float("inf")
    assert float(L.amplitude_weighted_mse(y, p, rate=5.0)[0]) == pytest.approx(np.exp(15.0), rel=1e-4)
    y, p = ops.cast([[300.0]], "float16"), ops.cast([[0.0]], "float16")
    assert float(L.dual_weighted_mse(y, p, gamma=2.0)[0]) == pytest.approx(300.0**4, rel=1e-4)


def test_log_confusion_of_logits_that_are_sure():
    z = np.array([[100.0, 0.0, 0.0]], "float32")  # 1 - q is 2 exp(-100), far below what float32 can hold in q
    value = float(L.LogConfusion(from_logits=True)([[1.0, 0.0, 0.0]], z))
    assert value == pytest.approx(100.0 - np.log(2.0), rel=1e-5)


def test_labels_of_contrastive_may_lack_the_last_axis():
    assert float(L.Contrastive()(np.array([1.0, 0.0]), np.array([[0.5], [0.5]]))) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: L.Huber(0.0), ValueError, "`threshold` of Huber must be a finite number > 0. Received.*0.0"),
        (lambda: L.Huber("1"), TypeError, "`threshold` of Huber.*of type str"),
        (lambda: L.Contrastive(margin=-1.0), ValueError, "`margin` of Contrastive.*> 0. Received.*-1.0"),
        (lambda: L.huber([0.0], [1.0], threshold=-1.0), ValueError, "`threshold` of huber.*Received.*-1.0"),
        (lambda: L.contrastive([0.0], [1.0], margin=0.0), ValueError, "`margin` of contrastive.*> 0"),
        (lambda: L.amplitude_weighted_mse([0.0], [1.0], rate="5"), TypeError, "`rate`.*of type str"),
        (lambda: L.dual_weighted_mse([0.0], [1.0], gamma=-1.0), ValueError, "`gamma`.*>= 0"),
        (
            lambda: L.CategoricalCrossentropy()(np.array([0, 1]), ROWS),
            ValueError,
            r"y_true of shape \(2,\), y_pred of shape \(2, 5\).*to_categorical",
        ),
        (lambda: L.Confusion()(np.array([0, 1]), ROWS), ValueError, "shape of `y_pred`.*to_categorical"),
        (lambda: L.AmplitudeWeightedMSE(rate=float("nan")), ValueError, "`rate` of AmplitudeWeightedMSE"),
        (lambda: L.DualWeightedMSE(gamma=-0.5), ValueError, "`gamma` of DualWeightedMSE.*>= 0"),
        (
            lambda: L.CategoricalCrossentropy(label_smoothing=1.5),
            ValueError,
            ">= 0 and <= 1. Received: label_smoothing=1.5",
        ),
        (
            lambda: L.CategoricalCrossentropy()(LABELS, ROWS * 5),
            ValueError,
            "`y_pred`.*set `from_logits=True`",
        ),
        (lambda: L.CategoricalCrossentropy()(LABELS * 3, ROWS), ValueError, "`y_true`.*to_categorical"),
        (lambda: L.Confusion()(LABELS, ROWS * 5), ValueError, "`y_pred` of Confusion.*from_logits=True"),
        (lambda: L.LogConfusion()(LABELS, ROWS - 1), ValueError, "`y_pred` of LogConfusion"),
        (
            lambda: L.Contrastive()([[2.0]], [[1.0]]),
            ValueError,
            "`y_true` of Contrastive.*1 is a similar pair",
        ),
        (lambda: L.Contrastive()([[1.0]], [[-1.0]]), ValueError, "must be distances.*EuclideanDistance"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()
