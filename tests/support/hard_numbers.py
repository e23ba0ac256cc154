"""The cases of `tests/test_hard_numbers.py`: what is hard about each, and what its formula gives."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

import keras_penalties as kp
from tests.losses import batch_cases
from tests.support import references, references_catalogue, references_pairs
from tests.support.helpers import finite_differences, tensor

R, L = kp.regularizers, kp.losses
INF = float("inf")


@dataclass
class Number:
    """One hard number.

    Attributes:
        name: what is hard about it.
        function: the package's code, from a tensor to a scalar.
        x: where it is taken, in float32.
        value: what the formula gives there in float64.
        slope: its gradient, or None where the formula has none that could be written down.
        tolerance: the relative error that float32 may have.
    """

    name: str
    function: Callable
    x: Any
    value: float
    slope: Any = None
    tolerance: float = 1e-5  # XLA adds thousands of terms one after the other

    def __post_init__(self):
        self.x = np.array(self.x, "float32")


def dominated(size, rows=32, features=128):
    """Columns of a normal distribution, the first `size` times as large as the others."""
    x = np.random.RandomState(0).randn(rows, features).astype("float32")
    x[:, 0] *= np.float32(size)
    return x


def decov(x):
    """`references.decov` without its loops over features."""
    z = x - x.mean(axis=0)
    c = z.T @ z / len(x)
    return 0.5 * np.sum((c - np.diag(np.diag(c))) ** 2)


def slope_of_decov(x):
    z = x - x.mean(axis=0)
    c = z.T @ z / len(x)
    return 2.0 * z @ (c - np.diag(np.diag(c))) / len(x)


def covariance(x):
    z = x - x.mean(axis=0)
    c = z.T @ z / (len(x) - 1)
    return np.sum((c - np.diag(np.diag(c))) ** 2) / x.shape[1]


def coral(a, b):
    c, d = (np.cov(x, rowvar=False) for x in (a, b))
    return np.sum((c - d) ** 2) / (4 * a.shape[1] ** 2)


def vicreg(a, b):
    def spread(x):
        return np.maximum(0.0, 1.0 - np.sqrt(x.var(axis=0, ddof=1) + 1e-4)).mean()

    apart = np.mean((a - b) ** 2)
    return 25 * apart + 25 * (spread(a) + spread(b)) + covariance(a) + covariance(b)


def of_pair(penalty, b):
    return lambda x: penalty.measure([x, tensor(b)])


def total(function, y, **options):
    return lambda x: ops.sum(function(y, x, **options))


def mean(function, y, **options):
    return lambda x: ops.mean(function(y, x, **options))


def semi_hard_with_ties():
    y = np.array([1, 1, 0, 1, 2, 2, 0, 0], "int32")
    x = np.array([[1], [2], [-1], [0], [-1], [0], [2], [2]], "float32")
    formula = batch_cases.triplets(batch_cases.semi_hard)
    weights = 2.0 ** np.arange(8)  # so that each row is seen in the sum
    expected = sum(w * formula(list(y), np.float64(x), i) for i, w in enumerate(weights))
    return Number(
        "Triplet: exact ties", lambda x: ops.sum(L.triplet(y, x) * tensor(weights, "float32")), x, expected
    )


def of_a_zero_row(name, function, formula):
    """A row of zeros has no direction: its slope is 0, and that of the others is the formula's."""
    y = np.array([0, 0, 1, 1], "int32")
    x = np.array([[0, 0, 0], [1, 2, 0.5], [-1, 0.5, 1], [0.5, -1, 2]], "float32")

    def value(x):
        return np.mean([formula(list(y), x, i) for i in range(len(y))])

    slope = finite_differences(value, x)
    slope[0] = 0.0
    return Number(f"{name}: a zero row", mean(function, y), x, value(np.float64(x)), slope)


def pairs_scaled(size, margin=1.0):
    """Two rows of one class and one of another, far beyond the margin."""
    x = np.float64([[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]]) * size
    # Rows 0 and 1 each have a positive at distance sqrt(2) * size and a negative that costs nothing.
    return Number(
        f"PairwiseContrastive at {size:g}",
        mean(L.pairwise_contrastive, np.array([0, 0, 1], "int32"), margin=margin),
        x,
        2 * (2 * size**2) / 2 / 3,
        np.float64([[1, -1], [-1, 1], [0, 0]]) * size * 2 / 3,
        1e-5,
    )


def distance_scaled(size):
    layer, b = kp.layers.EuclideanDistance(), np.float32([[0.0, 0.0]])
    x = np.float64([[3.0, 4.0]]) * size
    return Number(
        f"EuclideanDistance at {size:g}", lambda a: ops.sum(layer([a, tensor(b)])), x, 5 * size, [[0.6, 0.8]]
    )


def zeros(name, shape=(2, 6)):
    penalty = getattr(R, name)(1.0) if name != "L1L2" else R.L1L2(1.0, 1.0)
    return Number(f"{name}: zeros", penalty.measure, np.zeros(shape), 0.0, np.zeros(shape))


def below_the_edge(q, edge=1e-7):
    """Minus the logarithm of `1 - q`, which continues as its tangent below `edge`."""
    rest = 1.0 - np.float64(q)
    return -np.log(rest) if rest >= edge else -(np.log(edge) + (rest - edge) / edge)


def log_confusion_with_offset(offset):
    z, y = np.float32([[1.0, 2.0, 0.5]]) + np.float32(offset), np.float32([[0.0, 1.0, 0.0]])
    exact = np.float64(z) - np.float64(z).max()
    q = np.exp(exact) / np.exp(exact).sum()
    return Number(
        f"LogConfusion: offset {offset:g}",
        total(L.log_confusion, y, from_logits=True),
        z,
        -np.log(1 - q[0, 1]),
        (q[0, 1] * (y - q) / (1 - q[0, 1])),
        1e-5,
    )


def rows_of(size, name):
    x = np.float64([[1.0, -2.0, 2.0], [2.0, 2.0, 1.0]]) * size
    if name == "Hoyer":
        formula = references_catalogue.hoyer
        return Number(f"Hoyer at {size:g}", R.Hoyer(1.0).measure, x, formula(x / size))
    # Groups are channels: the lengths over positions, times the root of their number.
    expected = references_catalogue.group_lasso(x / size) * size
    return Number(f"GroupLasso at {size:g}", R.GroupLasso(1.0).measure, x, expected)


def transformed_l1():
    x = np.float32([[1e3, 0.5]])
    beta = np.float64(1e-3)
    slope = (beta + 1) * beta / (beta + np.abs(np.float64(x))) ** 2
    value = np.sum((beta + 1) * np.abs(np.float64(x)) / (beta + np.abs(np.float64(x))))
    return Number("TransformedL1: beta 1e-3", R.TransformedL1(1.0, beta=1e-3).measure, x, value, slope)


def mmd_scaled(size):
    a = np.float64([[1.0], [2.0], [4.0]]) * size
    b = np.float64([[1.5], [2.5], [3.5]]) * size
    formula = functools.partial(references_pairs.mmd_between, kernel="rbf", bandwidth=1.0)
    return Number(f"MMD at {size:g}", of_pair(R.MMD(1.0), np.float32(b)), a, formula([a, b]), 0.0 * a)


COSINE = kp.layers.CosineDistance()
B = np.random.RandomState(1).randn(32, 128).astype("float32")

NUMBERS = [
    Number("Entropy: a logit of -inf", R.Entropy(1.0, from_logits=True).measure, [[0, -INF]], 0.0, [[0, 0]]),
    Number(
        "Confidence: a logit of -inf",
        R.Confidence(1.0, from_logits=True).measure,
        [[0, -INF]],
        np.log(2),
        [[0, 0]],
    ),
    *(
        Number(
            f"DeCov: one feature {size:g} times as large",
            R.DeCov(1.0).measure,
            dominated(size),
            decov(np.float64(dominated(size))),
            slope_of_decov(np.float64(dominated(size))),
        )
        for size in (1.0, 1e3, 1e4, 1e10)
    ),
    *(
        Number(
            f"Covariance: one feature {size:g} times as large",
            R.Covariance(1.0).measure,
            dominated(size),
            covariance(np.float64(dominated(size))),
        )
        for size in (1e3, 1e10)
    ),
    *(
        Number(
            f"VICReg: one feature {size:g} times as large",
            of_pair(R.VICReg(1.0), B),
            dominated(size),
            vicreg(np.float64(dominated(size)), np.float64(B)),
        )
        for size in (1e3, 1e10)
    ),
    *(
        Number(
            f"CORAL: one feature {size:g} times as large",
            of_pair(R.CORAL(1.0), B),
            dominated(size),
            coral(np.float64(dominated(size)), np.float64(B)),
        )
        for size in (1.0, 1e3, 1e8)
    ),
    Number(
        "CosineDistance: a zero row",
        lambda x: ops.sum(COSINE([x, tensor([[1.0, 0.0]], "float32")])),
        [[0.0, 0.0]],
        1.0,
        [[0.0, 0.0]],
    ),
    of_a_zero_row("NTXent", L.ntxent, batch_cases.ntxent),
    of_a_zero_row("SupervisedContrastive", L.supervised_contrastive, batch_cases.supervised),
    *(zeros(name) for name in ("L1", "L1L2", "TransformedL1", "LogSparsity", "Hoyer")),
    Number(
        "TotalVariation: a constant image",
        R.TotalVariation(1.0).measure,
        np.full((1, 3, 3, 1), 0.5),
        0.0,
        np.zeros((1, 3, 3, 1)),
    ),
    semi_hard_with_ties(),
    log_confusion_with_offset(0.0),
    log_confusion_with_offset(-1e7),
    *(distance_scaled(size) for size in (1e-30, 1e-25, 1.0, 1e19, 1e30)),
    *(pairs_scaled(size) for size in (1.0, 1e18)),
    *(rows_of(1e38, name) for name in ("Hoyer", "GroupLasso")),
    *(mmd_scaled(size) for size in (1e19, 1e30)),
    transformed_l1(),
    Number(
        "Triplet: rows of 1e30",
        mean(L.triplet, np.array([0, 0, 1, 1], "int32"), mining="hard"),
        np.float64([[0.0], [1.0], [2.0], [4.0]]) * 1e30,
        # The farthest positives are 1, 1, 2, 2 away, the closest negatives 2, 1, 1, 3.
        1e30 / 4,
    ),
    Number(
        "KLSparsity: units that are always on",
        R.KLSparsity(1.0).measure,
        [[1.0, 0.5], [1.0, 0.5]],
        references.kl_sparsity(np.float64([[1.0, 0.5], [1.0, 0.5]])),
    ),
]
