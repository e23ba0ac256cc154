"""Penalties of a student and its teacher, compared with the codes of their authors."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from tests.contracts_pairs import SEVERAL_TENSORS
from tests.support.helpers import gradient

R = kp.regularizers


def drawn(*shapes):
    random = np.random.default_rng(0)
    return [random.normal(size=shape).astype("float32") for shape in shapes]


@pytest.mark.parametrize(
    "case", [case for case in SEVERAL_TENSORS if case.detached], ids=lambda case: case.name
)
def test_what_is_detached_gets_no_gradient(case):
    xs = case.draw((5, 4, 3))
    for i in range(case.count):
        # Backends disagree on the gradient of what does not depend on `x` at all.
        slope = gradient(
            lambda x, i=i: case.measures[i](x, np.delete(xs, i, axis=0)) + ops.sum(0.0 * x), xs[i]
        )
        assert np.any(slope != 0.0) == (i not in case.detached)


def at_loss(student, teacher):
    """`utils.at_loss` of the authors' repository, with the channels last."""

    def at(x):
        q = np.mean(np.square(x), axis=-1).reshape(len(x), -1)
        return q / np.linalg.norm(q, axis=1, keepdims=True)

    return np.mean(np.square(at(student) - at(teacher)))


def test_attention_transfer_is_the_code_of_its_authors():
    student, teacher = drawn((5, 4, 6, 3), (5, 4, 6, 7))
    found = float(R.AttentionTransfer(1.0, distance="mean_squared").measure([student, teacher]))
    np.testing.assert_allclose(found, at_loss(student, teacher), rtol=1e-5)


def test_attention_transfer_sees_where_and_not_how_much():
    (x,) = drawn((3, 4, 2))
    penalty = R.AttentionTransfer(1.0)
    assert float(penalty.measure([x, 3.0 * x])) == 0.0
    assert np.all(gradient(lambda x: penalty.measure([x, 3.0 * x]), x) == 0.0)
    assert float(penalty.measure([x, x[:, ::-1]])) > 0.1


def smooth_l1(a, b):
    d = np.abs(a - b)
    return np.mean(np.where(d < 1.0, 0.5 * d**2, d - 0.5))


def rkd_distance(student, teacher):
    """`RkdDistance` of the authors' repository, which counts the distance of each row to itself."""

    def relative(x):
        d = np.linalg.norm(x[:, None] - x[None], axis=-1)
        return d / d[d > 0].mean()

    return smooth_l1(relative(student), relative(teacher))


def rkd_angle(student, teacher):
    """`RKdAngle` of the authors' repository, which counts the triplets with a row twice."""

    def cosines(x):
        d = x[None] - x[:, None]
        d = d / np.maximum(np.linalg.norm(d, axis=-1, keepdims=True), 1e-12)
        return d @ d.transpose(0, 2, 1)

    return smooth_l1(cosines(student), cosines(teacher))


def test_relational_kd_is_the_code_of_its_authors_without_a_row_and_itself():
    n, (student, teacher) = 7, drawn((7, 3), (7, 6))
    found = float(R.RelationalKD(1.0, angle=0.0).measure([student, teacher]))
    np.testing.assert_allclose(found, rkd_distance(student, teacher) * n / (n - 1), rtol=1e-5)
    found = float(R.RelationalKD(1.0, distance=0.0, angle=1.0).measure([student, teacher]))
    np.testing.assert_allclose(found, rkd_angle(student, teacher) * n**2 / ((n - 1) * (n - 2)), rtol=1e-5)


def test_relational_kd_shows_its_terms():
    student, teacher = drawn((6, 3), (6, 5))
    layer = kp.layers.ActivityPenalty(R.RelationalKD(0.1), name="related")
    inputs = [keras.Input((3,)), keras.Input((5,))]
    model = keras.Model(inputs, layer(inputs)[0])
    model.compile("sgd", "mse")
    logs = model.evaluate([student, teacher], student, verbose=0, return_dict=True)
    for part, options in (("distance", {"angle": 0.0}), ("angle", {"distance": 0.0})):
        alone = 0.1 * float(R.RelationalKD(1.0, **options).measure([student, teacher]))
        np.testing.assert_allclose(logs[f"related_{part}"], alone, rtol=1e-5)


@pytest.mark.parametrize("shape", [(5, 40), (40, 5)], ids=["few rows", "many rows"])
def test_cka_is_0_for_rotated_and_scaled_rows(shape):
    (x,) = drawn(shape)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(shape[1],) * 2))[0]
    same = (3.0 * x @ rotation + 1.0).astype("float32")
    np.testing.assert_allclose(float(R.CKA(1.0).measure([x, same])), 0.0, atol=1e-5)
    (other,) = drawn((shape[0], 7))
    found = [float(R.CKA(1.0).measure([y, other])) for y in (x, same)]
    np.testing.assert_allclose(*found, rtol=1e-4)
    assert found[0] > 0.05


@pytest.mark.parametrize("widths", [(9, 15), (2, 30), (4, 3)])
def test_cka_is_that_of_the_gram_matrices(widths):
    """`cka(gram_linear(x), gram_linear(y))` of the authors' notebook."""
    xs = drawn(*((6, width) for width in widths))

    def gram(x):
        center = np.eye(len(x)) - 1.0 / len(x)
        return center @ np.float64(x @ x.T) @ center

    a, b = map(gram, xs)
    expected = 1.0 - np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))
    np.testing.assert_allclose(float(R.CKA(1.0).measure(xs)), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: R.RelationalKD(1.0, angle=-1.0), ValueError, "`angle` of RelationalKD must be .*>= 0"),
        (lambda: R.RelationalKD(1.0, distance="1"), TypeError, "`distance` of RelationalKD must be a finite"),
        (lambda: R.CKA(1.0, detach="both"), ValueError, "`detach` of CKA must be one of 'first', 'second'"),
        (
            lambda: R.CKA(1.0).measure(drawn((5, 3), (4, 3))),
            ValueError,
            "CKA compares the rows of its tensors one by one",
        ),
        (
            lambda: R.AttentionTransfer(1.0, distance="l2"),
            ValueError,
            "`distance` of AttentionTransfer must be one of 'euclidean', 'mean_squared'",
        ),
        (
            lambda: R.AttentionTransfer(1.0).measure(drawn((5, 3), (5, 3))),
            ValueError,
            r"AttentionTransfer .* at least one axis of positions.*x\[0\] of shape \(5, 3\).*Flatten",
        ),
        (
            lambda: R.AttentionTransfer(1.0).measure(drawn((5, 4, 3), (5, 2, 3))),
            ValueError,
            "AttentionTransfer compares the positions of its tensors one by one",
        ),
    ],
)
def test_arguments_that_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
