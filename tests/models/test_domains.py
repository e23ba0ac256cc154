"""Unlabelled rows of a second domain, for CORAL and MMD: in one array with a column that names the domain,
and as a second input, from `tf.data`."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.support.helpers import BACKEND, to_numpy

PENALTIES = {
    "CORAL": lambda: kp.regularizers.CORAL(2.0),
    "MMD": lambda: kp.regularizers.MMD(2.0, bandwidth=2.0),
}


def data():
    random = np.random.RandomState(0)
    source, target = random.randn(12, 3), 2.0 * random.randn(8, 3) + 1.0
    return source.astype("float32"), np.arange(12) % 2, target.astype("float32")


def parts():
    encoder = keras.Sequential([layers.Dense(4, activation="tanh"), layers.Dense(3, name="features")])
    return encoder, layers.Dense(2, activation="softmax")


def one_array(penalty):
    inputs = keras.Input((4,))
    encoder, head = parts()
    domain, h = inputs[:, 3], encoder(inputs[:, :3])
    h, _ = kp.layers.ActivityPenalty(penalty, name="align")(
        [h, h], mask=[ops.equal(domain, 0), ops.equal(domain, 1)]
    )
    return keras.Model(inputs, head(h))


def two_inputs(penalty):
    source, target = keras.Input((3,), name="source"), keras.Input((3,), name="target")
    encoder, head = parts()
    h, _ = kp.layers.ActivityPenalty(penalty, name="align")([encoder(source), encoder(target)])
    return keras.Model({"source": source, "target": target}, head(h))


def compiled(model):
    for i, variable in enumerate(model.trainable_variables):
        variable.assign(0.5 * np.random.RandomState(i).randn(*variable.shape))
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=BACKEND == "tensorflow")
    return model


def in_one_array(seed=0):
    source, y, target = data()
    rows = np.concatenate([np.c_[source, np.zeros(12)], np.c_[target, np.ones(8)]]).astype("float32")
    labels = np.concatenate([y, np.zeros(8, "int64")])
    weights = np.concatenate([np.ones(12), np.zeros(8)]).astype("float32")
    order = np.random.RandomState(seed).permutation(20)
    return rows[order], labels[order], weights[order]


@pytest.mark.parametrize("name", PENALTIES)
def test_a_domain_column_and_two_inputs_train_the_same(name):
    tf = pytest.importorskip("tensorflow")
    source, y, target = data()
    two = compiled(two_inputs(PENALTIES[name]()))
    unlabelled = tf.data.Dataset.from_tensor_slices(target).batch(8)
    batches = tf.data.Dataset.zip(tf.data.Dataset.from_tensor_slices((source, y)).batch(12), unlabelled)
    batches = batches.map(lambda labelled, new: ({"source": labelled[0], "target": new}, labelled[1]))
    expected = two.fit(batches, epochs=3, shuffle=False, verbose=0).history

    one = compiled(one_array(PENALTIES[name]()))
    rows, labels, weights = in_one_array()
    logs = one.fit(rows, labels, sample_weight=weights, batch_size=20, epochs=3, verbose=0).history
    np.testing.assert_allclose(logs["align"], expected["align"], rtol=1e-4)
    np.testing.assert_allclose(logs["loss"], expected["loss"], rtol=1e-4)
    for ours, theirs in zip(one.trainable_variables, two.trainable_variables, strict=True):
        np.testing.assert_allclose(to_numpy(ours.value), to_numpy(theirs.value), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_batch_of_one_domain_has_no_penalty(name):
    model = compiled(one_array(PENALTIES[name]()))
    rows, labels, weights = in_one_array()
    for domain in (0, 1):
        of = rows[:, 3] == domain
        history = model.fit(
            rows[of], labels[of], sample_weight=weights[of], batch_size=20, epochs=2, verbose=0
        ).history
        assert history["align"] == [0.0, 0.0]
        assert np.isfinite(history["loss"]).all()


def test_labels_of_rows_without_weight_have_no_effect():
    rows, labels, weights = in_one_array()
    after = []
    for others in (0, 1):
        model = compiled(one_array(PENALTIES["MMD"]()))
        y = np.where(weights > 0, labels, others)
        model.fit(rows, y, sample_weight=weights, batch_size=5, epochs=2, shuffle=False, verbose=0)
        after.append([to_numpy(v.value) for v in model.trainable_variables])
    for a, b in zip(*after, strict=True):
        np.testing.assert_array_equal(a, b)
