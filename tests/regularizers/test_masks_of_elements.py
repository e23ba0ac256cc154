"""Masks with as many axes as the tensor: they may broadcast, and may drop single features of a row."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_penalties as kp
from tests.contracts import PENALTIES
from tests.contracts_pairs import SEVERAL_TENSORS
from tests.support.helpers import gradient

R = kp.regularizers
OF_ROWS = (R.Entropy, R.Confidence, R.ZLoss)
SHAPE = 4, 5, 3
by_case = pytest.mark.parametrize("case", PENALTIES, ids=lambda case: case.name)


@st.composite
def masks(draw):
    """A mask that broadcasts to `SHAPE`, and keeps something."""
    shape = [draw(st.sampled_from([1, size])) for size in SHAPE]
    count = int(np.prod(shape))
    cells = draw(st.lists(st.booleans(), min_size=count, max_size=count).filter(any))
    return np.array(cells).reshape(shape)


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def of_kept(case, x, kept):
    """What a penalty of examples or rows means where `kept` says of each element of `x` whether it counts."""
    if case.cls in OF_ROWS:
        rows = zip(x.reshape(-1, x.shape[-1]), kept.reshape(-1, x.shape[-1]), strict=True)
        return mean(case.expected(row[k][None]) for row, k in rows if k.any())
    examples = [(e, k) for e, k in zip(x, kept, strict=True) if k.any()]
    return mean(_example(case, e, k) for e, k in examples)


def _example(case, x, kept):
    """The value of an example `(time, features)`."""
    if case.cls is R.GroupLasso:
        along = case.options.get("axis", -1)
        groups = zip(x, kept, strict=True) if along == -1 else [(x, kept)]
        return sum(np.sqrt(np.sum(g[k] ** 2)) for g, k in groups)
    if case.cls in (R.TotalVariation, R.TemporalSmoothness):
        columns = list(zip(x.T, kept.T, strict=True))
        if case.cls is R.TemporalSmoothness:
            return mean((b - a) ** 2 for c, k in columns for a, b in itertools.pairwise(c[k]))
        pairs = [abs(c[t + 1] - c[t]) for c, k in columns for t in range(len(c) - 1) if k[t] and k[t + 1]]
        return sum(pairs) / (kept.sum() if case.options.get("per") == "element" else 1)
    return case.expected(x[kept][None])


@by_case
@given(mask=masks(), seed=st.integers(0, 1000))
def test_a_mask_may_broadcast_and_drop_single_features(case, mask, seed):
    x, arranged = case.draw(SHAPE, seed), case.arrange(mask)
    if mask.shape[-1] > 1 and not case.make().masks_elements:
        with pytest.raises(ValueError, match=rf"`mask` of {case.cls.__name__} drops single features"):
            case.make().measure(x, arranged)
        return
    features_last, kept = np.moveaxis(x, case.axis, -1), np.broadcast_to(mask, SHAPE)
    x = np.where(case.arrange(kept), x, np.float32(np.nan))
    if case.make().masks_elements:
        expected = of_kept(case, features_last.astype("float64"), kept)
    else:
        expected = case.expected(case.draw(SHAPE, seed), kept[..., 0])
    np.testing.assert_allclose(float(case.measure(x, arranged)), expected, rtol=1e-4, atol=1e-6)
    slope = np.moveaxis(gradient(case.measure, x, arranged), case.axis, -1)
    assert np.isfinite(slope).all() and np.all(slope[~kept] == 0.0)


@by_case
def test_which_penalties_take_masks_of_single_features(case):
    """Those that are sums over elements or functions of rows: not statistics of whole rows, nor a user's own
    code, which may know masks of positions alone."""
    of_batch = issubclass(case.cls, R.BatchStatisticPenalty) and case.cls not in OF_ROWS
    assert case.make().masks_elements == (not of_batch and case.cls.__name__ != "Total")


def test_a_subclass_with_its_own_examples_says_so():
    class Largest(R.L2):
        def examples(self, x, mask):
            raise AssertionError

    class Smallest(Largest):
        masks_elements = True

    with pytest.warns(UserWarning, match="not registered"):
        assert (Largest(0.1).masks_elements, Smallest(0.1).masks_elements) == (False, True)
        assert R.L2(0.1).masks_elements
        with pytest.raises(ValueError, match="`mask` of Largest drops single features"):
            Largest(0.1).measure(np.ones((2, 3)), np.eye(2, 3))


@pytest.mark.parametrize("case", SEVERAL_TENSORS, ids=lambda case: case.name)
def test_several_tensors(case):
    random = np.random.default_rng(0)
    xs, shapes = case.draw(SHAPE), [(4, 1, 1), (1, 5, 1), (4, 5, 1)][: case.count]
    rows = [random.uniform(size=shape) < 0.7 for shape in shapes]
    spread = [np.broadcast_to(m[..., 0], SHAPE[:-1]) for m in rows]
    value = float(case.make().measure(xs, rows))
    np.testing.assert_allclose(value, case.reference(xs, spread), rtol=1e-4, atol=1e-6)
    single = [random.uniform(size=shape) < 0.7 for shape in (SHAPE, (1, 5, 3), SHAPE)[: case.count]]
    if not case.make().masks_elements:
        with pytest.raises(ValueError, match=r"`mask\[0\]` of \w+ drops single features"):
            case.make().measure(xs, single)
        return
    kept = np.logical_and(*single)
    if case.cls is R.Hint:
        halves = (0.5 * (b - a)[k] ** 2 for a, b, k in zip(*xs, kept, strict=True))
        expected = mean(h.mean() if case.options else h.sum() for h in halves)
    else:
        of_feature = [
            sum(
                case.cls(1.0).measure([m[k][None], v[k][None]])
                for m, v, k in zip(*columns, strict=True)
                if k.any()
            )
            for columns in (tuple(t[..., f] for t in (*xs, kept)) for f in range(SHAPE[-1]))
        ]
        shares = [max(float(total) / len(kept), case.options.get("free_bits", 0.0)) for total in of_feature]
        expected = abs(sum(shares) - case.options.get("capacity", 0.0))
    np.testing.assert_allclose(float(case.make().measure(xs, single)), expected, rtol=1e-4)


@pytest.mark.parametrize("shape", [(4, 1), (1, 5), (4, 5, 2), (2, 5, 3), (1, 4, 5, 3), ()])
def test_what_does_not_fit_is_refused(shape):
    """Only a mask with as many axes as the tensor broadcasts: a prefix of the shape is taken as it is."""
    with pytest.raises(ValueError, match=r"`mask` of L2 must have .*broadcast to \(4, 5, 3\)"):
        R.L2(0.1).measure(np.zeros(SHAPE), np.ones(shape, bool))


def test_a_regularizer_of_keras_checks_its_mask_too():
    layer = functools.partial(kp.layers.ActivityPenalty("l2", name="quiet"), np.ones(SHAPE, "float32"))
    layer(mask=np.ones((4, 5, 3), bool))
    with pytest.raises(ValueError, match="`mask` of L2 must have"):
        layer(mask=np.ones((4, 4), bool))
