"""Formulas against collapse, as their papers state them: plain loops in float64."""

import cmath
import functools
import math

import numpy as np

from tests.support.references import _kept_rows
from tests.support.references_catalogue import _average


def _direction(row):
    largest = max(abs(v) for v in row)
    row = [v / largest for v in row] if largest > 0.0 else row
    length = math.hypot(*row)
    return [v / length if length > 0.0 else 0.0 for v in row]


def koleo(x, mask=None, axis=-1, eps=1e-8):
    """Sablayrolles et al. 2018, equation 2, with the epsilon of DINOv2. Rows that are equal apart from
    rounding are equal."""
    rows = [_direction(row) for row in _kept_rows(x, mask, axis)]
    if len(rows) < 2:
        return 0.0
    nearest = [min(math.dist(a, b) for j, b in enumerate(rows) if i != j) for i, a in enumerate(rows)]
    return -_average(math.log((d if d > 1e-14 else 0.0) + eps) for d in nearest)


def marginal_entropy(x, mask=None, axis=-1, from_logits=False):
    """Van Gansbeke et al. 2020, the second term of equation 2, plus log K."""
    rows = [list(row) for row in _kept_rows(x, mask, axis)]
    if not rows:
        return 0.0
    if from_logits:
        exponentials = [[math.exp(v - max(row)) for v in row] for row in rows]
        rows = [[v / sum(row) for v in row] for row in exponentials]
    means = [_average(column) for column in zip(*rows, strict=True)]
    k = len(means)
    if from_logits:  # means that sum to 1: without the rounding that a difference of logarithms leaves
        return math.fsum(
            p * (math.log(k * p) if p >= 1e-7 else math.log(k) + _log(p)) - (p - 1 / k) for p in means
        )
    return max(0.0, math.log(k) + sum(p * _log(p) for p in means))


def _log(p):
    return math.log(p) if p >= 1e-7 else math.log(1e-7) - 1.0 + p / 1e-7


def _mixed(number):
    """Wellons' lowbias32."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        number = (number ^ (number >> shift)) * factor % 2**32
    return number


@functools.cache
def directions(features, count, seed=0, step=0):
    """The random directions of a step of `SIGReg`, one a column."""
    key = _mixed(_mixed(step) ^ seed % 2**32)
    total = features * count
    uniform = [((_mixed(i ^ key) >> 8) + 0.5) / 2**24 for i in range(2 * total)]
    pairs = zip(uniform[:total], uniform[total:], strict=True)
    normal = [math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v) for u, v in pairs]
    normal = np.reshape(normal, (features, count))
    return normal / np.linalg.norm(normal, axis=0)


def sigreg(x, mask=None, axis=-1, slices=1024, knots=17, t_max=3.0, seed=0, step=0):
    """Balestriero and LeCun 2025, with the test of Epps and Pulley 1983, as in the authors' code."""
    rows = _kept_rows(x, mask, axis)
    if not rows:
        return 0.0
    total = 0.0
    for direction in directions(len(rows[0]), slices, seed, step).T:
        along = [sum(v * a for v, a in zip(row, direction, strict=True)) for row in rows]
        for k in range(knots):
            t = t_max * k / (knots - 1)
            difference = _average(cmath.exp(1j * t * z) for z in along) - math.exp(-t * t / 2)
            width = t_max / (knots - 1) * (1 if k in (0, knots - 1) else 2)
            total += width * abs(difference) ** 2 * math.exp(-t * t / 2)
    return len(rows) * total / slices
