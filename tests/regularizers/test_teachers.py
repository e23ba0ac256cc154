"""Penalties of a student and its teacher, compared with the codes of their authors."""

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


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
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
