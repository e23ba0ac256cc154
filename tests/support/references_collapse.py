"""Formulas against collapse, as their papers state them: plain loops in float64."""

import math

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
