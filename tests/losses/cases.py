"""Every exported loss, what it is tried on, and its formula as NumPy loops from the paper."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import keras_penalties as kp

L = kp.losses


class Case:
    """What is made of `cls` with `options`."""

    cls: type
    options: dict

    @property
    def name(self):
        return self.cls.__name__ + "".join(f"-{k}={v}" for k, v in self.options.items())

    def make(self, **more):
        return self.cls(**{**self.options, **more})


@dataclass
class LossCase(Case):
    """A loss under the contract.

    Attributes:
        cls: the class.
        function: its function.
        formula: one row of labels and one of predictions to the row's value, in float64.
        draw: a random state and a number of rows to labels and predictions.
        options: arguments of the class that are not its defaults.
        edges: rows at which gradients must be finite: pairs of labels and predictions.
    """

    cls: type
    function: Callable
    formula: Callable
    draw: Callable
    options: dict = field(default_factory=dict)
    edges: list = field(default_factory=list)

    def reference(self, y, p):
        return np.array(
            [self.formula(a, b) for a, b in zip(y.astype("float64"), p.astype("float64"), strict=True)]
        )


def probabilities(random, rows, classes=5):
    y = np.eye(classes)[random.randint(0, classes, rows)].astype("float32")
    q = random.dirichlet(np.ones(classes), rows).astype("float32")
    return y, q


def logits(random, rows, classes=5):
    y, _ = probabilities(random, rows, classes)
    return y, random.randn(rows, classes).astype("float32") * 3


def amplitudes(random, rows, outputs=4):
    return random.rand(rows, outputs).astype("float32"), random.rand(rows, outputs).astype("float32")


def distances(random, rows):
    return random.randint(0, 2, (rows, 1)).astype("float32"), (2 * random.rand(rows, 1)).astype("float32")


def softmax(z):
    total = sum(math.exp(v - max(z)) for v in z)
    return [math.exp(v - max(z)) / total for v in z]


def cross_entropy(y, q):
    return -sum(a * math.log(max(b, 1e-7)) for a, b in zip(y, q, strict=True) if a != 0)


def cross_entropy_of_logits(y, z):
    # Logits have no floor.
    total = max(z) + math.log(sum(math.exp(v - max(z)) for v in z))
    return sum(a * (total - b) for a, b in zip(y, z, strict=True) if a != 0)


def smoothed(y, q, s=0.1):
    return cross_entropy([a * (1 - s) + s / len(y) for a in y], q)


def huber(y, p, t=1.0):
    errors = [abs(a - b) for a, b in zip(y, p, strict=True)]
    return sum(0.5 * e * e if e <= t else t * e - 0.5 * t * t for e in errors) / len(errors)


def contrastive(y, d, margin=1.0):
    return y[0] * d[0] ** 2 + (1 - y[0]) * max(margin - d[0], 0.0) ** 2


def confusion(y, q):
    return sum(a * b for a, b in zip(y, q, strict=True))


def log_confusion(y, q):
    return -sum(a * math.log(1 - b) for a, b in zip(y, q, strict=True))


def log_confusion_of_logits(y, z):
    # 1 - q is the probability of the other classes: no difference that loses digits.
    total = 0.0
    for k, share in enumerate(y):
        if share:
            others = [v for i, v in enumerate(z) if i != k]
            largest = max(others)
            rest = largest + math.log(sum(math.exp(v - largest) for v in others))
            total += share * (max(0.0, z[k] - rest) + math.log1p(math.exp(-abs(z[k] - rest))))
    return total


def amplitude(y, p, rate=5.0):
    return sum(math.exp(rate * a) * (b - a) ** 2 for a, b in zip(y, p, strict=True)) / len(y)


def dual(y, p, gamma=1.0):
    return sum(max(abs(a), abs(b)) ** gamma * (b - a) ** 2 for a, b in zip(y, p, strict=True)) / len(y)


CERTAIN = [([1, 0, 0], [1, 0, 0]), ([1, 0, 0], [0, 1, 0]), ([0, 0, 0], [0, 0, 1]), ([1, 0, 0], [0.5, 0.5, 0])]
FAR = [([1, 0, 0], [1e4, 0, 0]), ([1, 0, 0], [0, 1e4, 0]), ([0, 1, 0], [0, 0, 0])]
LEVELS = [([0, 0], [0, 0]), ([1, 1], [1, 1]), ([0, 1], [1, 0]), ([1, 0], [3, -3]), ([0, 1], [1e-30, 1])]
PAIRS = [([1], [0]), ([0], [0]), ([0], [1]), ([0.5], [0]), ([0], [9])]

CASES = [
    LossCase(
        L.CategoricalCrossentropy, L.categorical_crossentropy, cross_entropy, probabilities, edges=CERTAIN
    ),
    LossCase(
        L.CategoricalCrossentropy,
        L.categorical_crossentropy,
        cross_entropy_of_logits,
        logits,
        {"from_logits": True},
        FAR,
    ),
    LossCase(
        L.CategoricalCrossentropy,
        L.categorical_crossentropy,
        smoothed,
        probabilities,
        {"label_smoothing": 0.1},
        CERTAIN,
    ),
    LossCase(L.Huber, L.huber, huber, amplitudes, edges=LEVELS),
    LossCase(L.Huber, L.huber, lambda y, p: huber(y, p, 0.2), amplitudes, {"threshold": 0.2}, LEVELS),
    LossCase(L.Contrastive, L.contrastive, contrastive, distances, edges=PAIRS),
    LossCase(
        L.Contrastive, L.contrastive, lambda y, d: contrastive(y, d, 0.5), distances, {"margin": 0.5}, PAIRS
    ),
    LossCase(L.Confusion, L.confusion, confusion, probabilities, edges=CERTAIN),
    LossCase(
        L.Confusion, L.confusion, lambda y, z: confusion(y, softmax(z)), logits, {"from_logits": True}, FAR
    ),
    LossCase(L.LogConfusion, L.log_confusion, log_confusion, probabilities, edges=CERTAIN),
    LossCase(
        L.LogConfusion,
        L.log_confusion,
        log_confusion_of_logits,
        logits,
        {"from_logits": True},
        FAR,
    ),
    LossCase(L.AmplitudeWeightedMSE, L.amplitude_weighted_mse, amplitude, amplitudes, edges=LEVELS),
    LossCase(
        L.AmplitudeWeightedMSE,
        L.amplitude_weighted_mse,
        lambda y, p: amplitude(y, p, 2.0),
        amplitudes,
        {"rate": 2.0},
        LEVELS,
    ),
    LossCase(L.DualWeightedMSE, L.dual_weighted_mse, dual, amplitudes, edges=LEVELS),
    LossCase(
        L.DualWeightedMSE,
        L.dual_weighted_mse,
        lambda y, p: dual(y, p, 0.5),
        amplitudes,
        {"gamma": 0.5},
        LEVELS,
    ),
]
