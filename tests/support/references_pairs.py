"""Formulas that compare several tensors, as their papers state them: plain loops in float64.

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


def _cosine(a, b):
    """The cosine of the angle between two rows; 0 if one of them is zero."""
    lengths = math.hypot(*a) * math.hypot(*b)
    return sum(p * q for p, q in zip(a, b, strict=True)) / lengths if lengths > 0.0 else 0.0


def _softmax_and_logarithm(row, temperature):
    shifted = [(v - max(row)) / temperature for v in row]
    logarithm = math.log(sum(math.exp(v) for v in shifted))
    return [math.exp(v - logarithm) for v in shifted], [v - logarithm for v in shifted]


def _squared_error(target, prediction):
    return _average((p - t) ** 2 for t, p in zip(target, prediction, strict=True))


def _absolute_error(target, prediction):
    return _average(abs(p - t) for t, p in zip(target, prediction, strict=True))


def _soft_targets(loss, target, prediction, temperature):
    """Hinton et al. 2015, section 2, for one row of logits."""
    p, log_p = _softmax_and_logarithm(target, temperature)
    _, log_q = _softmax_and_logarithm(prediction, temperature)
    entropy = sum(-a * b for a, b in zip(p, log_p, strict=True) if a > 0.0)
    crossed = sum(-a * b for a, b in zip(p, log_q, strict=True) if a > 0.0)
    return temperature**2 * (crossed - (entropy if loss == "kl_divergence" else 0.0))


def match(xs, masks=(None, None), loss="mean_squared_error", detach=None, temperature=None):
    """The formulas of Keras' losses, the first tensor being the prediction; `detach` is for the gradient."""
    rows = zip(*_paired_rows(xs, masks, -1), strict=True)
    if temperature is not None:
        return _average(_soft_targets(loss, target, prediction, temperature) for prediction, target in rows)
    of_a_row = {
        "mean_squared_error": _squared_error,
        "mean_absolute_error": _absolute_error,
        "cosine_similarity": lambda target, prediction: -_cosine(target, prediction),
    }[loss]
    return _average(of_a_row(target, prediction) for prediction, target in rows)


def info_nce(xs, masks=(None, None), axis=-1, temperature=0.1, symmetric=True, negatives="both_views"):
    """Chen et al. 2020, equation 1; Radford et al. 2021, figure 3, if the negatives are of the other view."""
    a, b = _paired_rows(xs, masks, axis)
    values = []
    for own, other in ((a, b), (b, a))[: 2 if symmetric else 1]:
        for n in range(len(own)):
            rest = [other[k] for k in range(len(other)) if k != n]
            if negatives == "both_views":
                rest += [own[k] for k in range(len(own)) if k != n]
            logits = [_cosine(own[n], z) / temperature for z in (other[n], *rest)]
            values.append(math.log(sum(math.exp(v - logits[0]) for v in logits)))
    return _average(values)


def triplet_margin(xs, masks=(None, None, None), margin=1.0, distance="euclidean"):
    """Balntas et al. 2016, without a swap; PyTorch's `TripletMarginLoss` without its 1e-6."""
    between = {
        "euclidean": lambda a, b: math.dist(a, b),
        "squared": lambda a, b: sum((p - q) ** 2 for p, q in zip(a, b, strict=True)),
        "cosine": lambda a, b: 1.0 - _cosine(a, b),
    }[distance]
    rows = zip(*_paired_rows(xs, masks, -1), strict=True)
    return _average(max(between(a, p) - between(a, n) + margin, 0.0) for a, p, n in rows)
