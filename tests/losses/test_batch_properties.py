"""Every loss of a batch: what holds for any labels and rows, drawn by hypothesis."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from keras import ops

import keras_penalties as kp
from keras_penalties._keras.masks import set_keras_mask
from keras_penalties.losses._pairs import BatchLoss
from tests.losses.batch_cases import BATCH_CASES
from tests.support.helpers import gradient, tensor, to_numpy

by_case = pytest.mark.parametrize("case", BATCH_CASES, ids=lambda case: case.name)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
# How many rows: few sizes, since each is compiled separately.
labels = st.sampled_from([2, 7]).flatmap(lambda n: st.lists(st.integers(0, 3), min_size=n, max_size=n))
seeds = st.integers(0, 1000)


def rows(y, seed):
    return np.array(y, "int32"), np.random.RandomState(seed).randn(len(y), 3).astype("float32")


def values(case, y, p, mask=None):
    """One value a row."""
    p = tensor(p) * 1.0
    if mask is not None:
        set_keras_mask(p, tensor(mask))
    return to_numpy(case.function(tensor(y), p, **case.options))


def test_every_loss_of_a_batch_has_a_case():
    exported = {getattr(kp.losses, name) for name in kp.losses.__all__}
    of_a_batch = {c for c in exported if isinstance(c, type) and issubclass(c, BatchLoss)}
    assert of_a_batch == {case.cls for case in BATCH_CASES}


@by_case
@given(labels, seeds)
def test_the_order_of_the_rows_does_not_matter(case, y, seed):
    y, p = rows(y, seed)
    order = np.random.RandomState(seed + 1).permutation(len(y))
    np.testing.assert_allclose(values(case, y[order], p[order]), values(case, y, p)[order], **CLOSE)


@by_case
@given(labels, seeds, st.integers(0, 2**7 - 2))
def test_masked_equals_trimmed(case, y, seed, bits):
    y, p = rows(y, seed)
    mask = np.array([not bits >> i & 1 for i in range(len(y))])
    found = values(case, y, np.where(mask[:, None], p, np.float32(np.nan)), mask)
    np.testing.assert_allclose(found[mask], case.reference(y[mask], p[mask]), **CLOSE)
    assert np.all(found[~mask] == 0.0)


@by_case
@given(labels, seeds, st.sampled_from([0.0, 1e30, np.inf, np.nan]))
def test_a_padded_batch_changes_nothing(case, y, seed, padding):
    y, p = rows(y, seed)
    more = np.concatenate([p, np.full((3, 3), padding, "float32")])
    mask = np.arange(len(more)) < len(y)
    found = values(case, np.concatenate([y, [0, 0, 9]]), more, mask)
    np.testing.assert_allclose(found[: len(y)], values(case, y, p), **CLOSE)


@by_case
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_an_empty_mask_gives_zero(case, dtype):
    y, p = rows([0, 0, 1, 2], 0)

    def loss(p):
        p = p * 1.0
        set_keras_mask(p, tensor(np.zeros(4, bool)))
        return ops.sum(case.function(tensor(y), p, **case.options))

    p = tensor(p, dtype)
    assert float(loss(p)) == 0.0
    assert np.all(gradient(loss, p) == 0.0)
