"""Every exported loss that compares the rows of a batch, and its formula as loops from the paper."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from keras import ops

import keras_penalties as kp
from tests.losses.cases import Case

L = kp.losses


@dataclass
class BatchCase(Case):
    """A loss of a batch under the contract.

    Attributes:
        cls: the class.
        function: its function.
        formula: what the anchor `i` costs: of the ids, the rows and `i` to a number, in float64.
        options: arguments of the class that are not its defaults.
        cosine: whether only the direction of rows matters.
    """

    cls: type
    function: Callable
    formula: Callable
    options: dict = field(default_factory=dict)
    cosine: bool = False

    @cached_property
    def mean(self):
        """Of rows and ids, the mean of the loss: one function, so that it is compiled once."""
        return lambda p, y: ops.mean(self.function(y, p, **self.options))

    def reference(self, y, p):
        y, p = list(np.asarray(y).reshape(-1)), np.asarray(p, "float64")
        return np.array([self.formula(y, p, i) for i in range(len(y))])


def positives(y, i):
    return [j for j in range(len(y)) if j != i and y[j] == y[i]]


def negatives(y, i):
    return [j for j in range(len(y)) if y[j] != y[i]]


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def distance(p, i, j):
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(p[i], p[j], strict=True)))


def cosine(p, i, j):
    lengths = math.hypot(*p[i]) * math.hypot(*p[j])
    return sum(a * b for a, b in zip(p[i], p[j], strict=True)) / lengths if lengths else 0.0


def contrastive(y, p, i, margin=1.0):
    pairs = [distance(p, i, j) ** 2 for j in positives(y, i)]
    return mean(pairs + [max(margin - distance(p, i, j), 0.0) ** 2 for j in negatives(y, i)])


def triplets(mine, power=1, margin=1.0):
    """The mean over the triplets that `mine` picks, from the anchor's distances to the positives and to
    the negatives, as pairs of distances."""

    def formula(y, p, i):
        near, far = ([distance(p, i, j) ** power for j in of(y, i)] for of in (positives, negatives))
        return mean(max(a - b + margin, 0.0) for a, b in mine(near, far)) if near and far else 0.0

    return formula


def semi_hard(near, far):
    return [(a, min((b for b in far if b > a), default=max(far))) for a in near]


def hard(near, far):
    return [(max(near), min(far))]


def every(near, far):
    return [(a, b) for a in near for b in far]


def supervised(y, p, i, t=0.07):
    total = sum(math.exp(cosine(p, i, k) / t) for k in range(len(y)) if k != i)
    return mean(math.log(total) - cosine(p, i, j) / t for j in positives(y, i))


def ntxent(y, p, i, t=0.5):
    total = sum(math.exp(cosine(p, i, k) / t) for k in negatives(y, i))
    own = [math.exp(cosine(p, i, j) / t) for j in positives(y, i)]
    return mean(-math.log(a / (a + total)) for a in own)


def min_diff(y, p, i, length):
    """What row `i` adds to the mean over pairs of groups of their squared discrepancy, times the rows."""
    groups = {g: [j for j in range(len(y)) if y[j] == g] for g in set(y)}
    own = groups.pop(y[i])
    if not groups:
        return 0.0

    def kernel(rows):
        return mean(math.exp(-((distance(p, i, j) / length) ** 2)) for j in rows)

    apart = mean(kernel(own) - kernel(rows) for rows in groups.values())
    return 2 * len(y) / (len(groups) + 1) / len(own) * apart


def draw(rows=9, seed=0, features=4):
    """Rows of three classes, and one that is alone in its class."""
    random = np.random.RandomState(seed)
    y = random.randint(0, 3, rows)
    y[-1] = 7
    return y.astype("int32"), random.randn(rows, features).astype("float32") * 0.7


# What a batch may look like at its worst: labels and rows.
ROWS = np.random.RandomState(1).randn(6, 3)
CLASSES = np.array([0, 0, 1, 1, 2, 3])
EDGES = {
    "zeros": (CLASSES, 0 * ROWS),
    "a row of zeros": (CLASSES, ROWS * (np.arange(6) > 0)[:, None]),
    "equal rows": (CLASSES, 0 * ROWS + ROWS[0]),
    "equal pairs": (CLASSES, ROWS[[0, 0, 2, 2, 4, 4]]),
    "constant columns": (CLASSES, np.where(np.arange(3) > 0, 0.1, ROWS)),
    "one row": (CLASSES[:1], ROWS[:1]),
    "one class": (0 * CLASSES, ROWS),
    "one class of equal rows": (0 * CLASSES, 0 * ROWS + ROWS[0]),
    "all different": (np.arange(6), ROWS),
    "large": (CLASSES, 1e4 * ROWS),
    "far away": (CLASSES, 1e4 + ROWS),
    "tiny": (CLASSES, 1e-30 * ROWS),
    "all sizes": (CLASSES, ROWS * 10.0 ** np.array([-30, -3, -1, 0, 2, 4])[:, None]),
}

BATCH_CASES = [
    BatchCase(L.PairwiseContrastive, L.pairwise_contrastive, contrastive),
    BatchCase(
        L.PairwiseContrastive,
        L.pairwise_contrastive,
        lambda y, p, i: contrastive(y, p, i, 2.5),
        {"margin": 2.5},
    ),
    *(
        BatchCase(L.MinDiff, L.min_diff, lambda y, p, i, a=length: min_diff(y, p, i, a), {"length": length})
        for length in (1.0, 2.0)
    ),
    BatchCase(L.Triplet, L.triplet, triplets(semi_hard)),
    BatchCase(L.Triplet, L.triplet, triplets(semi_hard, 2), {"distance": "squared"}),
    BatchCase(L.Triplet, L.triplet, triplets(hard), {"mining": "hard"}),
    BatchCase(
        L.Triplet,
        L.triplet,
        triplets(hard, 2, 0.2),
        {"mining": "hard", "distance": "squared", "margin": 0.2},
    ),
    BatchCase(L.Triplet, L.triplet, triplets(every), {"mining": "all"}),
    BatchCase(
        L.Triplet,
        L.triplet,
        triplets(every, 2, 0.2),
        {"mining": "all", "distance": "squared", "margin": 0.2},
    ),
    BatchCase(L.SupervisedContrastive, L.supervised_contrastive, supervised, cosine=True),
    BatchCase(
        L.SupervisedContrastive,
        L.supervised_contrastive,
        lambda y, p, i: supervised(y, p, i, 0.5),
        {"temperature": 0.5},
        cosine=True,
    ),
    BatchCase(L.NTXent, L.ntxent, ntxent, cosine=True),
    BatchCase(L.NTXent, L.ntxent, lambda y, p, i: ntxent(y, p, i, 0.1), {"temperature": 0.1}, cosine=True),
]
