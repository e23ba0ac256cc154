"""One encoder on two inputs: values, penalties per use, files, pairs, refusals."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.models.networks import set_weights

Siamese, balanced_pairs = kp.models.Siamese, kp.models.balanced_pairs


def encoder(**hidden):
    return set_weights(
        keras.Sequential([keras.Input((3,)), layers.Dense(2, name="code", **hidden)], name="enc")
    )


def two_outputs():
    start = keras.Input((3,))
    return keras.Model(start, [layers.Dense(2)(start), layers.Dense(2)(start)])


def pairs(rows=10):
    a, b = np.random.RandomState(0).randn(2, rows, 3).astype("float32")
    return [a, b], (np.arange(rows) % 2).astype("float32")


def codes(model, x):
    kernel, bias = model.encoder.get_weights()
    return x @ kernel + bias


def test_gives_the_distance_of_the_embeddings():
    model = Siamese(encoder())
    (a, b), _ = pairs()
    expected = np.linalg.norm(codes(model, a) - codes(model, b), axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict([a, b], verbose=0), expected, rtol=1e-4)
    np.testing.assert_allclose(model.embed(a), codes(model, a), rtol=1e-5)


@pytest.mark.parametrize("kind", ["argument", "layer", "keras"])
@pytest.mark.parametrize("eager", [False, True])
def test_penalties_of_the_encoder_count_once_for_each_use(kind, eager):
    if kind == "layer":
        own = encoder()
        penalty = kp.layers.ActivityPenalty(kp.regularizers.L2(0.1), name="size")
        model = Siamese(keras.Sequential([keras.Input((3,)), own, penalty]))
    else:
        make = keras.regularizers.L2 if kind == "keras" else kp.regularizers.L2
        model = Siamese(encoder(activity_regularizer=make(0.1)))
    model.compile(keras.optimizers.SGD(0.0), kp.losses.Contrastive(1.0), run_eagerly=eager)
    x, y = pairs()
    (a, b), rows = x, len(y)
    distance = np.linalg.norm(codes(model, a) - codes(model, b), axis=1)
    contrastive = np.mean(y * distance**2 + (1 - y) * np.maximum(1 - distance, 0) ** 2)
    size = 0.1 * (np.sum(codes(model, a) ** 2) + np.sum(codes(model, b) ** 2))
    old_keras = tuple(int(part) for part in keras.__version__.split(".")[:2]) < (3, 14)
    size = size if kind == "keras" and old_keras else size / rows
    history = model.fit(x, y, batch_size=rows, verbose=0).history
    logs = model.evaluate(x, y, batch_size=rows, verbose=0, return_dict=True)
    assert history["loss"][0] == pytest.approx(contrastive + size, rel=1e-4)
    assert float(logs["loss"]) == pytest.approx(contrastive + size, rel=1e-4)
    if kind == "layer":
        assert float(logs["size"]) == pytest.approx(size, rel=1e-4)


@pytest.mark.parametrize("distance", ["euclidean", "cosine", kp.layers.EuclideanDistance(name="own")])
def test_goes_through_a_file(tmp_path, distance):
    x, y = pairs()
    model = Siamese(encoder(), distance)
    model.compile("adam", kp.losses.Contrastive(0.7))
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "siamese.keras")
    again = keras.models.load_model(tmp_path / "siamese.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.loss.margin == 0.7
    model.reset_metrics()  # before 3.15, Keras continues the means of `fit`
    assert float(again.train_on_batch(x, y)) == pytest.approx(float(model.test_on_batch(x, y)), rel=1e-5)


def two_inputs(kind):
    """An encoder of two inputs, and pairs in the structure in which it takes them."""
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    joined = layers.Dense(2, name="code")(layers.Concatenate()([a, b]))
    model = set_weights(keras.Model({"a": a, "b": b} if kind == "dict" else [a, b], joined))
    random = np.random.RandomState(0)
    pair = [[random.randn(10, size).astype("float32") for size in (3, 2)] for _ in range(2)]
    return model, [dict(zip("ab", side, strict=True)) if kind == "dict" else side for side in pair]


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_an_encoder_of_several_inputs(kind, tmp_path):
    encoder, x = two_inputs(kind)
    model, y = Siamese(encoder), (np.arange(10) % 2).astype("float32")
    model.compile("adam", kp.losses.Contrastive(1.0))
    joined = [np.hstack(list(side.values()) if kind == "dict" else side) for side in x]
    codes_of = [codes(model, side) for side in joined]
    expected = np.linalg.norm(codes_of[0] - codes_of[1], axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4)
    np.testing.assert_allclose(model.embed(x[0]), codes_of[0], rtol=1e-5)
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"][0])
    assert np.any(codes(model, joined[0]) != codes_of[0])
    model.save(tmp_path / "siamese.keras")
    again = keras.models.load_model(tmp_path / "siamese.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    with pytest.raises(
        ValueError, match="twice the 2 inputs of the encoder.*Received: arrays of 10, 10, 10, 10, 4"
    ):
        model.fit(x, y[:4])
    with pytest.raises(
        ValueError, match="twice the 2 inputs of the encoder.*Received: arrays of 10, 10, 10 rows"
    ):
        model.fit([joined[0], joined[1]], y)


def test_balanced_pairs():
    labels = np.repeat(np.arange(4), [3, 5, 2, 10])
    rows = np.arange(20)
    (first, second), similar = balanced_pairs(rows, labels, seed=1)
    assert (len(first), similar.mean(), similar.dtype) == (40, 0.5, np.dtype("float32"))
    np.testing.assert_array_equal(labels[first] == labels[second], similar == 1)
    assert np.all(first != second)
    assert sorted(first[similar == 1]) == sorted(first[similar == 0]) == list(rows)
    again, _ = balanced_pairs(rows, labels, seed=1)
    np.testing.assert_array_equal(again[1], second)
    assert len(balanced_pairs(rows, labels, count=100, seed=1)[1]) == 100


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Siamese(layers.Dense(2)), TypeError, "`encoder` of Siamese must be a Keras model.*Dense"),
        (lambda: Siamese(keras.Sequential([layers.Dense(2)])), ValueError, "must be a built.*keras.Input"),
        (
            lambda: Siamese(two_outputs()),
            ValueError,
            r"must be a built functional or Sequential model with one output.*1 input\(s\) and 2 output",
        ),
        (lambda: Siamese(encoder(), "manhattan"), TypeError, "`distance` of Siamese.*'manhattan'"),
        (lambda: balanced_pairs(np.zeros(3), np.zeros(2)), ValueError, "one class per row"),
        (
            lambda: balanced_pairs(np.zeros(3), np.array([0, 0, 1])),
            ValueError,
            "at least two rows|two rows at least",
        ),
        (lambda: balanced_pairs(np.zeros(4), np.array([0, 0, 1, 1]), count=3), ValueError, "even number.*3"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_pairs_of_unequal_length_and_labels_that_are_none():
    model = Siamese(encoder())
    model.compile("sgd", kp.losses.Contrastive())
    (a, b), y = pairs()
    with pytest.raises(ValueError, match="all of the same length. Received: arrays of 10, 4, 10 rows"):
        model.fit([a, b[:4]], y)
    with pytest.raises(ValueError, match="Received: arrays of 10, 10, 3 rows"):
        model.fit([a, b], y[:3])
    with pytest.raises(ValueError, match="`y_true` of Contrastive must be between 0 and 1"):
        model.fit([a, b], y * 4)
    with pytest.raises(ValueError, match=r"`y_true` of contrastive.*y_true of shape \(\w+, 2\)"):
        model.fit([a, b], np.eye(2, dtype="float32")[y.astype(int)])


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_activity_regularizers_of_keras_in_half_precision(precision):
    keras.config.set_dtype_policy(precision)
    model = Siamese(encoder(activity_regularizer=keras.regularizers.L2(0.1)))
    model.compile(keras.optimizers.SGD(0.1), kp.losses.Contrastive(1.0))
    history = model.fit(*pairs(), batch_size=10, verbose=0).history
    assert np.isfinite(history["loss"][0])
