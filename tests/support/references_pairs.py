"""Formulas that compare two tensors, as their papers state them: plain loops in float64.

`xs` and `masks` are lists. Where rows belong together, a row counts that both masks keep.
"""

import math

import numpy as np

from tests.support.references import _kept_rows
from tests.support.references_catalogue import _average, _covariance, _kernel, _moments, _variance, _within


def _paired_rows(xs, masks, axis):
    everywhere = [np.ones(np.moveaxis(np.asarray(x), axis, -1).shape[:-1] or x.shape, bool) for x in xs]
    kept = everywhere[0]
    for m in masks:
        if m is not None:
            kept = kept & m.reshape(m.shape + (1,) * (kept.ndim - m.ndim))
    return [_kept_rows(x, kept, axis) for x in xs]


def mmd_between(xs, masks=(None, None), axis=-1, kernel="rbf", bandwidth=1.0):
    """Gretton et al. 2012, equation 3."""
    a, b = (_kept_rows(x, m, axis) for x, m in zip(xs, masks, strict=True))
    if min(len(a), len(b)) < 2:
        return 0.0
    between = _average(_kernel(p, q, kernel, bandwidth) for p in a for q in b)
    return _within(a, kernel, bandwidth) + _within(b, kernel, bandwidth) - 2 * between


def coral(xs, masks=(None, None), axis=-1):
    """Sun and Saenko 2016, equations 1 to 3."""
    a, b = (_kept_rows(x, m, axis) for x, m in zip(xs, masks, strict=True))
    if not a or not b:
        return 0.0
    difference = _moments(a, unbiased=True)[1] - _moments(b, unbiased=True)[1]
    return float(sum(v * v for v in difference.ravel()) / (4 * len(difference) ** 2))


def barlow_twins(xs, masks=(None, None), axis=-1, off_diagonal=0.0051):
    """Zbontar et al. 2021, equations 1 and 2; a constant feature correlates with nothing."""
    a, b = _paired_rows(xs, masks, axis)
    if not a:
        return 0.0
    (mean_a, cov_a), (mean_b, cov_b) = (_moments(rows, unbiased=False) for rows in (a, b))
    total = 0.0
    for i in range(len(mean_a)):
        for j in range(len(mean_b)):
            product = sum((p[i] - mean_a[i]) * (q[j] - mean_b[j]) for p, q in zip(a, b, strict=True)) / len(a)
            norm = math.sqrt(cov_a[i, i] * cov_b[j, j])
            c = product / norm if norm > 0.0 else 0.0
            total += (1 - c) ** 2 if i == j else off_diagonal * c**2
    return total


def vicreg(xs, masks=(None, None), axis=-1, invariance=25.0, variance=25.0, covariance=1.0):
    """Bardes et al. 2022, algorithm 1."""
    a, b = _paired_rows(xs, masks, axis)
    if not a:
        return 0.0
    apart = _average((p - q) ** 2 for u, v in zip(a, b, strict=True) for p, q in zip(u, v, strict=True))
    spread, shared = _variance(a) + _variance(b), _covariance(a) + _covariance(b)
    return invariance * apart + variance * spread + covariance * shared


def _paired_examples(xs, masks):
    """For each example that has anything left: the pairs of kept elements, with their feature's index."""
    a, b = (np.asarray(x, "float64") for x in xs)
    a, b = (x.reshape(-1, 1) if x.ndim == 1 else x for x in (a, b))
    examples = []
    for n in range(len(a)):
        pairs = []
        for i in np.ndindex(*a.shape[1:]):
            where = (n, *i)
            if all(m is None or m[where[: m.ndim]] for m in masks):
                pairs.append((i[-1], float(a[where]), float(b[where])))
        if pairs:
            examples.append(pairs)
    return examples


def hint(xs, masks=(None, None), per="example"):
    """Romero et al. 2015, equation 3, without a map."""
    values = []
    for pairs in _paired_examples(xs, masks):
        value = sum(0.5 * (s - t) ** 2 for _, s, t in pairs)
        values.append(value / len(pairs) if per == "element" else value)
    return _average(values)


def _beyond_the_tangent(v):
    """exp(v) - 1 - v, by its power series where that keeps more digits."""
    if abs(v) > 0.5:
        return math.exp(v) - 1 - v
    return sum(v**k / math.factorial(k) for k in range(2, 20))


def gaussian_kl(xs, masks=(None, None), free_bits=0.0, capacity=None):
    """Kingma and Welling 2014, appendix B; free bits of the batch's mean (Kingma et al. 2016)."""
    examples = _paired_examples(xs, masks)
    if not examples:
        return 0.0
    features = {}
    for pairs in examples:
        for j, mean, log_var in pairs:
            kl = 0.5 * (mean * mean + _beyond_the_tangent(log_var))
            features[j] = features.get(j, 0.0) + kl / len(examples)
    total = sum(max(free_bits, value) for value in features.values())
    return total if capacity is None else abs(total - capacity)
