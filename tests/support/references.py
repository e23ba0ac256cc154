"""The formulas as their papers state them: plain loops in float64, written without the package.

`x` has the batch first. `mask` has the shape of `x` without its features, or a prefix of that; what it
drops is left out of the lists that the formulas run over.
"""

import math

import numpy as np


def _kept_elements(x, mask):
    """For each example that has any, the list of its elements."""
    examples = []
    for n in range(x.shape[0]):
        elements = []
        for i in np.ndindex(*x.shape[1:]):
            where = (n, *i)
            if mask is None or mask[where[: mask.ndim]]:
                elements.append(float(x[where]))
        if elements:
            examples.append(elements)
    return examples


def _kept_rows(x, mask, axis):
    """The feature vectors, one for each position of each example."""
    x = np.asarray(x, "float64")
    if x.ndim == 1:
        x = x.reshape(-1, 1)
    x = np.moveaxis(x, axis, -1)
    rows = []
    for where in np.ndindex(*x.shape[:-1]):
        if mask is None or mask[where[: mask.ndim]]:
            rows.append([float(v) for v in x[where]])
    return rows


def _mean_of_examples(f, x, mask, per):
    values = []
    for elements in _kept_elements(np.asarray(x, "float64"), mask):
        value = 0.0
        for element in elements:
            value += f(element)
        values.append(value / len(elements) if per == "element" else value)
    return sum(values) / len(values) if values else 0.0


def l1(x, mask=None, per="example"):
    """Tibshirani 1996, on activations: the sum of |x|."""
    return _mean_of_examples(abs, x, mask, per)


def l2(x, mask=None, per="example"):
    """Hoerl and Kennard 1970, on activations: the sum of x^2."""
    return _mean_of_examples(lambda v: v * v, x, mask, per)


def l1l2(x, mask=None, per="example", l1=0.0, l2=0.0):
    """Zou and Hastie 2005, on activations: l1 |x| + l2 x^2."""
    return _mean_of_examples(lambda v: l1 * abs(v) + l2 * v * v, x, mask, per)


def decov(x, mask=None, axis=-1):
    """Cogswell et al. 2016, equations 1 and 2: C with 1/N, half of the squared off-diagonal."""
    rows = _kept_rows(x, mask, axis)
    if not rows:
        return 0.0
    count, features = len(rows), len(rows[0])
    means = [sum(row[j] for row in rows) / count for j in range(features)]
    total = 0.0
    for i in range(features):
        for j in range(features):
            if i != j:
                covariance = sum((row[i] - means[i]) * (row[j] - means[j]) for row in rows) / count
                total += covariance * covariance
    return 0.5 * total


def kl_sparsity(x, mask=None, axis=-1, target=0.05, edge=1e-7):
    """Ng 2011, section 3: KL(target || mean activation); below `edge` a logarithm is a line."""

    def log(v):
        return math.log(v) if v >= edge else math.log(edge) + (v - edge) / edge

    rows = _kept_rows(x, mask, axis)
    if not rows:
        return 0.0
    total = 0.0
    for j in range(len(rows[0])):
        mean = sum(row[j] for row in rows) / len(rows)
        total += target * (math.log(target) - log(mean))
        total += (1 - target) * (math.log(1 - target) - log(1 - mean))
    return total


def imbalance(x, mask=None, axis=-1):
    """`own_penalty.Imbalance`: the squared distances of the features' mean squares from their mean."""
    rows = _kept_rows(x, mask, axis)
    if not rows:
        return 0.0
    powers = [sum(row[j] ** 2 for row in rows) / len(rows) for j in range(len(rows[0]))]
    mean = sum(powers) / len(powers)
    return sum((power - mean) ** 2 for power in powers)


def power(x, mask=None, per="example", exponent=4):
    """`own_penalty.Power`: the sum of x^exponent."""
    return _mean_of_examples(lambda v: v**exponent, x, mask, per)


def total(x, mask=None):
    """`own_penalty.Total`: the squared sum of all that is kept."""
    return sum(sum(elements) for elements in _kept_elements(np.asarray(x, "float64"), mask)) ** 2
