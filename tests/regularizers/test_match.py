"""`Match`: any Keras loss between two tensors, one side of which may be fixed, or both be logits."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from tests.support.helpers import gradient, name_of, tensor

R = kp.regularizers
LOSSES = [
    *(
        "mse",
        "mean_absolute_error",
        "huber",
        "log_cosh",
        "mean_squared_logarithmic_error",
        "cosine_similarity",
    ),
    *("kl_divergence", "categorical_crossentropy", "binary_crossentropy", "poisson", "squared_hinge"),
    keras.losses.huber,
    keras.losses.Huber(delta=0.3),
    keras.losses.CosineSimilarity(),
    keras.losses.BinaryCrossentropy(from_logits=True),
    keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
    kp.losses.Huber(threshold=0.3),
    kp.losses.huber,
]


def drawn(shape, seed=0, least=-1.0):
    return [x.astype("float32") for x in np.random.default_rng(seed).uniform(least, 1.0, (2, *shape))]


def twice(penalty, a, b):
    """The gradient for both tensors."""
    both = np.stack([a, b])
    return gradient(lambda x: penalty.measure([x[0], x[1]]), both)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: name_of(loss)[:30])
@pytest.mark.backends("tensorflow", "torch")  # JAX compiles each operation of each of them
def test_is_what_keras_gives_for_targets_and_predictions(loss):
    prediction, target = drawn((3, 5, 4), least=0.05)
    whole = loss if isinstance(loss, keras.losses.Loss) else None
    whole = whole or (
        lambda y, p: ops.mean((keras.losses.get(loss) if isinstance(loss, str) else loss)(y, p))
    )
    expected = float(whole(tensor(target), tensor(prediction)))
    np.testing.assert_allclose(float(R.Match(1.0, loss).measure([prediction, target])), expected, rtol=1e-5)


@pytest.mark.parametrize("temperature", [None, 2.0])
@pytest.mark.parametrize("loss", ["mean_squared_error", "categorical_crossentropy"])
def test_a_side_that_is_detached_has_no_gradient(loss, temperature):
    a, b = drawn((4, 3), least=0.05)
    free = twice(R.Match(1.0, loss, temperature=temperature), a, b)
    for detach, kept in (("first", 1), ("second", 0)):
        slope = twice(R.Match(1.0, loss, detach=detach, temperature=temperature), a, b)
        np.testing.assert_allclose(slope[kept], free[kept], rtol=1e-5, atol=1e-7)
        assert np.abs(slope[kept]).max() > 1e-3 and np.all(slope[1 - kept] == 0.0)


def test_of_a_fixed_target_soft_targets_have_one_gradient():
    """Cross-entropy and divergence differ by the target's entropy. At high temperatures the gradient does not
    depend on the temperature: Hinton et al. 2015, equation 4."""
    a, b = drawn((4, 3))
    slopes = [
        twice(R.Match(1.0, loss, detach="second", temperature=t), a, b)[0]
        for loss, t in (("kl_divergence", 50.0), ("categorical_crossentropy", 50.0), ("kl_divergence", 100.0))
    ]
    centered = (a - a.mean(axis=1, keepdims=True)) - (b - b.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(slopes[0], slopes[2], rtol=0.1, atol=1e-3)
    np.testing.assert_allclose(slopes[2], centered / 3 / 4, rtol=0.1, atol=1e-3)


@pytest.mark.parametrize("loss", ["kl_divergence", keras.losses.CategoricalCrossentropy()])
def test_a_student_that_is_far_off_still_has_a_gradient(loss):
    """Keras bounds probabilities at 1e-7, and gives no gradient beyond that."""
    student, teacher = np.float32([[30.0, -30.0]]), np.float32([[-30.0, 30.0]])
    penalty = R.Match(1.0, loss, detach="second", temperature=1.0)
    np.testing.assert_allclose(float(penalty.measure([student, teacher])), 60.0, rtol=1e-5)
    np.testing.assert_allclose(twice(penalty, student, teacher)[0], [[1.0, -1.0]], rtol=1e-5)
    equal = twice(penalty, student, student + np.float32([[1e-4, 0.0]]))
    assert np.all(np.isfinite(equal))


def test_logits_of_minus_infinity():
    student, teacher = np.float32([[0.0, -np.inf, 1.0]]), np.float32([[1.0, -np.inf, 0.0]])
    short = [np.delete(x, 1, axis=1) for x in (student, teacher)]
    for loss in ("kl_divergence", "categorical_crossentropy"):
        penalty = R.Match(1.0, loss, temperature=2.0)
        np.testing.assert_allclose(
            float(penalty.measure([student, teacher])), float(penalty.measure(short)), rtol=1e-5
        )
        assert np.all(np.isfinite(twice(penalty, student, teacher)))


@pytest.mark.parametrize("loss", ["cosine_similarity", keras.losses.CosineSimilarity()])
def test_a_row_of_zeros_has_no_direction(loss):
    a, b = drawn((3, 4))
    a[1] = 0.0
    slope = twice(R.Match(1.0, loss), a, b)
    assert np.all(np.isfinite(slope)) and np.all(slope[:, 1] == 0.0)


def test_where_both_are_equal_an_absolute_error_has_no_gradient():
    a, b = drawn((3, 4))
    a[0] = b[0]
    assert np.all(twice(R.Match(1.0, "mae"), a, b)[:, 0] == 0.0)


@pytest.mark.parametrize("loss", ["cosine_similarity", "categorical_crossentropy", "kl_divergence", "mae"])
def test_what_a_mask_drops_has_no_gradient(loss):
    a, b = drawn((3, 4, 2), least=0.05)
    mask = np.ones((3, 4), bool)
    mask[0, 1:], mask[2] = False, False
    a[~mask], b[~mask] = np.nan, np.inf
    penalty = R.Match(1.0, loss)
    expected = float(penalty.measure([a[mask], b[mask]]))
    np.testing.assert_allclose(float(penalty.measure([a, b], mask)), expected, rtol=1e-5)
    slope = gradient(lambda x: penalty.measure([x[0], x[1]], mask), np.stack([a, b]))
    assert np.all(np.isfinite(slope)) and np.all(slope[:, ~mask] == 0.0)


@keras.saving.register_keras_serializable("tests")
def of_examples(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=(1, 2))


@keras.saving.register_keras_serializable("tests")
def of_elements(y_true, y_pred):
    return ops.square(y_true - y_pred)


def test_a_function_that_compares_whole_examples():
    a, b = drawn((3, 4, 2))
    penalty, mask = R.Match(1.0, of_examples), np.array([True, False, True])
    values = np.mean((a - b) ** 2, axis=(1, 2))
    np.testing.assert_allclose(float(penalty.measure([a, b])), values.mean(), rtol=1e-5)
    np.testing.assert_allclose(float(penalty.measure([a, b], mask)), values[mask].mean(), rtol=1e-5)
    with pytest.raises(ValueError, match=r"`mask` of Match must have one value per example, as of_examples"):
        penalty.measure([a, b], np.ones((3, 4), bool))
    elements = R.Match(1.0, of_elements).measure([a, b], mask)
    np.testing.assert_allclose(float(elements), values[mask].mean(), rtol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.Huber(delta=0.3),
        keras.losses.CosineSimilarity(axis=1),
        keras.losses.BinaryFocalCrossentropy(gamma=3.0),
        kp.losses.Huber(threshold=0.3),
        of_elements,
        "mse",
        keras.losses.mean_squared_error,
    ],
    ids=lambda loss: name_of(loss)[:30],
)
def test_a_saved_loss_keeps_its_arguments(loss):
    """Keras leaves `delta` and `axis` out of the config of `Huber` and `CosineSimilarity`."""
    xs = drawn((4, 3, 3), least=0.05)
    penalty = R.Match(0.1, loss, detach="first")
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(penalty)))
    again = keras.saving.deserialize_keras_object(saved)
    assert again.get_config() == penalty.get_config()
    np.testing.assert_allclose(float(again.measure(xs)), float(penalty.measure(xs)), rtol=1e-6)


def test_a_function_of_keras_is_kept_by_its_name():
    assert R.Match(1.0, keras.losses.mean_squared_error).loss == "mean_squared_error"


def test_a_function_that_is_not_registered_trains_and_is_not_saved():
    def distance(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)

    class Own(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return distance(y_true, y_pred)

    a, b = drawn((3, 4))
    for loss, what in ((distance, "function `distance`"), (Own(), "class `Own`")):
        with pytest.warns(
            UserWarning, match=f"`loss` of Match is the {what}, which is not registered"
        ) as found:
            penalty = R.Match(1.0, loss)
        assert found[0].filename == __file__
        np.testing.assert_allclose(float(penalty.measure([a, b])), np.abs(a - b).mean(), rtol=1e-5)
        with pytest.raises(ValueError, match="register_keras_serializable"):
            penalty.get_config()


def _scalar(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred))


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        ("nope", ValueError, r"`loss` of Match must be the name of a Keras loss.*loss='nope'"),
        (3, TypeError, r"`loss` of Match must be .*Received: 3 \(of type int\)"),
        (None, TypeError, r"`loss` of Match must be .*Received: None"),
        (keras.losses.MeanSquaredError, TypeError, r"`loss` of Match must be .*of type type"),
        (lambda y, p: y - p, ValueError, r"`loss` of Match is a lambda"),
        *(
            (
                keras.losses.MeanSquaredError(reduction=r),
                ValueError,
                r"must have reduction='sum_over_batch_size'",
            )
            for r in ("sum", None, "none")
        ),
        *(
            (
                loss,
                ValueError,
                r"`loss` of Match must compare two tensors, and \w+ needs labels.*hidden_losses",
            )
            for loss in (
                *(kp.losses.NTXent(), kp.losses.triplet, kp.losses.Center(3)),
                *("sparse_categorical_crossentropy", keras.losses.SparseCategoricalCrossentropy()),
            )
        ),
    ],
)
def test_what_is_no_loss_of_two_tensors(loss, error, message):
    with pytest.raises(error, match=message):
        R.Match(1.0, loss)


def test_other_arguments_that_are_refused():
    with pytest.raises(ValueError, match=r"`detach` of Match must be one of 'first', 'second'.*'teacher'"):
        R.Match(1.0, detach="teacher")
    with pytest.raises(ValueError, match=r"`temperature` of Match must be a finite number > 0"):
        R.Match(1.0, temperature=0.0)
    for loss in (
        keras.losses.CategoricalCrossentropy(from_logits=True),
        kp.losses.Confusion(from_logits=True),
    ):
        with pytest.raises(ValueError, match=r"gets probabilities.* if a temperature.*from_logits=True"):
            R.Match(1.0, loss, temperature=1.0)
    a, b = drawn((3, 4))
    with pytest.warns(UserWarning, match="not registered"):
        penalty = R.Match(1.0, _scalar)
    with pytest.raises(
        ValueError, match=r"`loss` of Match must return one value per.*from _scalar: shape \(\)"
    ):
        penalty.measure([a, b])
    with pytest.raises(ValueError, match=r"`loss` of Match must return one value per.*from dice"):
        R.Match(1.0, "dice").measure([a, b])


def test_simsiam_is_two_terms():
    """Chen and He 2021, algorithm 1: half the negative cosine of each prediction and the other projection."""
    p, z = drawn((5, 4)), drawn((5, 4), seed=1)
    penalty = R.Match(0.5, "cosine_similarity", detach="second")

    def cosines(a, b):
        return np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    inputs = [keras.Input((4,), name=name) for name in ("p1", "p2", "z1", "z2")]
    p1, p2, z1, z2 = inputs
    p1, _ = kp.layers.ActivityPenalty(penalty, name="first")([p1, z2])
    p2, _ = kp.layers.ActivityPenalty(penalty, name="second")([p2, z1])
    model = keras.Model(inputs, [p1, p2, z1, z2])
    model.compile("sgd")
    logs = model.evaluate([*p, *z], verbose=0, return_dict=True)
    expected = -0.5 * np.mean(cosines(p[0], z[1])) - 0.5 * np.mean(cosines(p[1], z[0]))
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(logs["first"] + logs["second"], expected, rtol=1e-5)


def test_is_what_keras_distils():
    student, teacher = drawn((6, 4))
    # By the name "kl_divergence", its default, it would compare the logits themselves.
    theirs = keras.distillation.LogitsDistillation(loss=keras.losses.KLDivergence(), temperature=2.0)
    theirs = theirs.compute_loss(tensor(teacher), tensor(student))
    penalty = R.Match(1.0, "kl_divergence", temperature=2.0)
    np.testing.assert_allclose(float(penalty.measure([student, teacher])), float(theirs), rtol=1e-5)
