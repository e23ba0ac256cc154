"""What the losses of a batch have to do with each other, with hidden layers, and with several devices."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from tests.losses.batch_cases import EDGES, draw
from tests.support.helpers import BACKEND, fresh_process, tensor, to_numpy

L = kp.losses


def test_pairwise_contrastive_is_contrastive_of_every_pair():
    y, p = draw()
    pairs = [(i, j) for i in range(9) for j in range(9) if i != j]
    first, second = (tensor(p[list(side)]) for side in zip(*pairs, strict=True))
    distances = kp.layers.EuclideanDistance()([first, second])
    alike = np.array([[float(y[i] == y[j])] for i, j in pairs], "float32")
    expected = float(L.Contrastive(margin=2.0)(alike, distances))
    assert float(L.PairwiseContrastive(margin=2.0)(y, p)) == pytest.approx(expected, rel=1e-5)


def test_with_two_views_simclr_and_supervised_contrastive_are_one():
    views = np.random.RandomState(0).randn(2, 5, 4).astype("float32")
    ids, rows = np.tile(np.arange(5), 2), views.reshape(10, 4)
    values = to_numpy(L.ntxent(ids, rows, temperature=0.3))
    np.testing.assert_allclose(values, to_numpy(L.supervised_contrastive(ids, rows, 0.3)), rtol=1e-5)
    # As in SimCLR's paper: the cross-entropy of finding the other view among all other rows.
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    logits = unit @ unit.T / 0.3 - 1e9 * np.eye(10)
    other = np.eye(10)[np.roll(np.arange(10), 5)]
    expected = to_numpy(keras.losses.categorical_crossentropy(other, logits, from_logits=True))
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_with_three_views_other_positives_compete_in_supervised_contrastive_alone():
    ids, rows = np.array([0, 0, 0, 1, 1, 1]), np.random.RandomState(0).randn(6, 4).astype("float32")
    assert (to_numpy(L.ntxent(ids, rows, 0.5)) < to_numpy(L.supervised_contrastive(ids, rows, 0.5))).all()


def test_semi_hard_takes_the_closest_negative_beyond_the_positive_or_the_farthest():
    rows = np.array([[0.0], [2.0], [1.0], [3.0], [9.0]], "float32")
    values = to_numpy(L.triplet([0, 0, 1, 1, 1], rows, margin=5.0))
    assert values[0] == pytest.approx(2 - 3 + 5)  # at 3, not at 1 nor at 9
    rows[1] = 20.0
    values = to_numpy(L.triplet([0, 0, 1, 1, 1], rows, margin=5.0))
    assert values[0] == pytest.approx(20 - 9 + 5, rel=1e-5)  # none is beyond


def test_triplets_of_all_negatives_at_one_place():
    """Sorting has to count ties, of which these rows have nothing else."""
    for mining in ("all", "semi_hard", "hard"):
        np.testing.assert_allclose(to_numpy(L.triplet([0, 0, 1, 1], np.ones((4, 2)), 0.5, mining)), 0.5)
    rows = np.array([[0.0], [0.0], [1.0], [1.0], [1.0]], "float32")
    found = to_numpy(L.triplet([0, 0, 1, 1, 1], rows, 1.0, "all"))
    np.testing.assert_allclose(found, 0.0, atol=1e-3)


@pytest.mark.parametrize("mining", ["all", "semi_hard"])
def test_a_batch_of_a_thousand_needs_no_list_of_triplets(mining):
    random = np.random.RandomState(0)
    y, p = random.randint(0, 9, 1000), random.randn(1000, 2).astype("float32")
    d = np.linalg.norm(p[:, None].astype("float64") - p[None], axis=-1)
    for i, value in list(enumerate(to_numpy(L.triplet(y, p, 1.0, mining))))[::250]:
        near, far = d[i][(y == y[i]) & (np.arange(1000) != i)][:, None], d[i][y != y[i]][None]
        if mining == "semi_hard":
            beyond = np.where(far > near, far, np.inf).min(axis=1, keepdims=True)
            far = np.where(np.isinf(beyond), far.max(), beyond)
        assert value == pytest.approx(np.maximum(near - far + 1.0, 0.0).mean(), rel=1e-4)


def test_a_row_without_a_positive_counts_in_the_mean_unless_it_has_no_weight():
    y, p = EDGES["all different"]
    for loss in (L.SupervisedContrastive(), L.NTXent(), L.Triplet()):
        assert float(loss(y, p.astype("float32"))) == 0.0
    y, p = draw()
    values = to_numpy(L.supervised_contrastive(y, p))
    weights = np.array([y.tolist().count(v) > 1 for v in y], "float32")
    assert values[weights == 0].tolist() == [0.0]
    weighted = L.SupervisedContrastive(reduction="mean_with_sample_weight")(y, p, sample_weight=weights)
    values = to_numpy(L.supervised_contrastive(y[weights > 0], p[weights > 0]))
    assert float(weighted) == pytest.approx(values.mean(), rel=1e-5)


@pytest.mark.parametrize("loss", [L.PairwiseContrastive, L.Triplet, L.SupervisedContrastive, L.NTXent])
def test_on_a_hidden_layer_with_the_labels_of_the_main_loss(loss):
    y, x = draw(16)
    y = y % 4
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, name="hidden"), keras.layers.Dense(4, activation="softmax")]
    )
    hidden = model.layers[0](x)
    wrapper = kp.models.HiddenOutputs(model, hidden=["hidden"])
    wrapper.compile(
        "sgd",
        "sparse_categorical_crossentropy",
        hidden_losses={"hidden": loss()},
        hidden_loss_weights={"hidden": 0.5},
    )
    logs = wrapper.evaluate(x, y, verbose=0, return_dict=True)
    assert float(logs["hidden_loss"]) == pytest.approx(0.5 * float(loss()(y, hidden)), rel=1e-4)
    assert float(logs["loss"]) == pytest.approx(float(logs["main_loss"] + logs["hidden_loss"]), rel=1e-5)
    weights = np.linspace(0, 2, 16)
    expected = 0.5 * float(loss()(y, hidden, sample_weight=weights))
    logs = wrapper.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    assert float(logs["hidden_loss"]) == pytest.approx(expected, rel=1e-4)
    history = wrapper.fit(x, y, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    with pytest.raises(ValueError, match=f"`y_true` of {loss.__name__} must hold integer class ids"):
        wrapper.fit(x, y + 0.5, verbose=0)


def test_a_masked_sequence_is_refused_until_it_is_pooled():
    x = keras.Input((5, 3))
    h = keras.layers.Masking()(x)
    with pytest.raises(ValueError, match="embeddings of shape .*pooling"):
        L.NTXent()(np.zeros((2, 1)), ops.zeros((2, 5, 3)))
    model = keras.Model(x, keras.layers.GlobalAveragePooling1D()(h))
    model.compile("sgd", L.NTXent())
    random = np.random.RandomState(0)
    rows = random.randn(6, 5, 3).astype("float32")
    assert np.isfinite(model.evaluate(rows, np.array([0, 1, 2, 0, 1, 2]), verbose=0))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: L.PairwiseContrastive(margin=0.0),
            ValueError,
            "`margin` of PairwiseContrastive must be .*> 0",
        ),
        (lambda: L.PairwiseContrastive("1"), TypeError, "`margin` of PairwiseContrastive.*of type str"),
        (lambda: L.Triplet(margin=-1.0), ValueError, "`margin` of Triplet.*> 0. Received.*-1.0"),
        (
            lambda: L.Triplet(mining="easy"),
            ValueError,
            "`mining` of Triplet must be one of 'semi_hard', 'hard'",
        ),
        (
            lambda: L.Triplet(distance="cosine"),
            ValueError,
            "`distance` of Triplet must be one of 'euclidean'",
        ),
        (lambda: L.SupervisedContrastive(0.0), ValueError, "`temperature` of SupervisedContrastive.*> 0"),
        (
            lambda: L.NTXent(temperature=None),
            TypeError,
            "`temperature` of NTXent must be a finite number > 0",
        ),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


TRAIN = """
import numpy as np, keras, keras_penalties as kp
from tests.losses.batch_cases import BATCH_CASES, draw

y, x = draw(16)

def train(case):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer="ones")])
    model.set_weights([np.random.RandomState(0).randn(*w.shape) for w in model.get_weights()])
    model.compile(keras.optimizers.SGD(0.1), case.make())
    history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"]
    return [np.array(history), *model.get_weights()]

def compare(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)

cases = [case for case in BATCH_CASES if set(case.options) <= {"mining"}]
alone = [train(case) for case in cases]
"""


@pytest.mark.slow
@pytest.mark.default_backend_only
def test_tensorflow_replicas_see_each_others_rows():
    code = (
        "import tensorflow as tf\n"
        "tf.config.set_logical_device_configuration(\n"
        "    tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        + TRAIN
        + "for case, one in zip(cases, alone):\n"
        "    with tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1']).scope():\n"
        "        compare(one, train(case))\n"
        "print('equal')\n"
    )
    assert fresh_process(code, backend=BACKEND).endswith("equal")


@pytest.mark.backends("jax")
def test_jax_devices_see_each_others_rows(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    code = TRAIN + (
        "devices = keras.distribution.list_devices()\n"
        "assert len(devices) == 2\n"
        "keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))\n"
        "for case, one in zip(cases, alone):\n"
        "    compare(one, train(case))\n"
        "print('equal')\n"
    )
    assert fresh_process(code).endswith("equal")


@pytest.mark.parametrize("mining", ["all", "semi_hard", "hard"])
def test_an_empty_batch_has_no_values(mining):
    values = kp.losses.triplet(np.zeros((0,), "int32"), np.zeros((0, 3), "float32"), mining=mining)
    assert tuple(values.shape) == (0,)
