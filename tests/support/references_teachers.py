"""Formulas that compare a student with its teacher, as their papers state them: plain loops in float64."""

import math

import numpy as np

from tests.support.references_catalogue import _average


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
