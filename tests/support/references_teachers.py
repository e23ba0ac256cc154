"""Formulas that compare a student with its teacher, as their papers state them: plain loops in float64."""

import math

import numpy as np

from tests.support.references_catalogue import _average
from tests.support.references_pairs import _cosine, _paired_rows


def _activity(x, kept):
    """How active each position of an example is that is kept, with length 1; zeros stay zeros."""
    largest = max((abs(v) for row, k in zip(x, kept, strict=True) if k for v in row), default=0.0)
    scale = largest if largest > 0.0 else 1.0
    q = [sum((v / scale) ** 2 for v in row) for row, k in zip(x, kept, strict=True) if k]
    length = math.hypot(*q)
    return [v / length if length > 0.0 else 0.0 for v in q]


def attention_transfer(xs, masks=(None, None), distance="euclidean"):
    """Zagoruyko and Komodakis 2017, equation 2; or the authors' `at_loss`."""
    values = []
    student, teacher = xs
    positions = student.shape[1:-1]
    for n in range(len(student)):
        kept = [all(m is None or m[(n, *i)[: m.ndim]] for m in masks) for i in np.ndindex(*positions)]
        if not any(kept):
            continue
        flat = [x[n].reshape(-1, x.shape[-1]) for x in (student, teacher)]
        apart = [a - b for a, b in zip(*(_activity(x, kept) for x in flat), strict=True)]
        if distance == "euclidean":
            values.append(0.5 * math.hypot(*apart))
        else:
            values.append(_average(v * v for v in apart))
    return _average(values)


def _huber(difference):
    return 0.5 * difference**2 if abs(difference) <= 1.0 else abs(difference) - 0.5


def _relative_distances(rows):
    """By pair of different rows: their distance, divided by the mean of all."""
    indices = range(len(rows))
    found = {(i, j): math.dist(rows[i], rows[j]) for i in indices for j in indices if i != j}
    mean = _average(found.values())
    return {pair: distance / mean if mean > 0.0 else 0.0 for pair, distance in found.items()}


def _angles(rows):
    """By triplet of different rows: the cosine of the angle at the second."""
    found, indices = {}, range(len(rows))
    for i in indices:
        for j in indices:
            for k in indices:
                if len({i, j, k}) == 3:
                    sides = ([p - q for p, q in zip(rows[side], rows[j], strict=True)] for side in (i, k))
                    found[i, j, k] = _cosine(*sides)
    return found


def relational(xs, masks=(None, None), axis=-1, distance=1.0, angle=2.0):
    """Park et al. 2019, equations 4 to 9, as means."""
    student, teacher = _paired_rows(xs, masks, axis)
    total = 0.0
    for weight, relations in ((distance, _relative_distances), (angle, _angles)):
        of_student, of_teacher = relations(student), relations(teacher)
        total += weight * _average(_huber(of_student[key] - of_teacher[key]) for key in of_student)
    return total


def _varying(rows):
    """Each feature less its mean, as columns of one size; zeros for a feature that is constant."""
    columns = []
    for column in zip(*rows, strict=True):
        mean, constant = sum(column) / len(column), max(column) == min(column)
        columns.append([0.0 if constant else v - mean for v in column])
    largest = max((abs(v) for column in columns for v in column), default=0.0)
    return [[v / largest if largest > 0.0 else 0.0 for v in column] for column in columns]


def cka(xs, masks=(None, None), axis=-1, detach=None):
    """Kornblith et al. 2019, section 3, with linear kernels; `detach` is for the gradient."""
    a, b = (_varying(rows) for rows in _paired_rows(xs, masks, axis))
    if not a or not a[0]:
        return 0.0

    def squares(p, q):
        return sum(sum(v * w for v, w in zip(c, d, strict=True)) ** 2 for c in p for d in q)

    norms = math.sqrt(squares(a, a)) * math.sqrt(squares(b, b))
    return 1.0 - squares(a, b) / norms if norms > 0.0 else 1.0
