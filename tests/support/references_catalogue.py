"""More formulas as their papers state them: plain loops in float64, written without the package."""

import itertools
import math

import numpy as np

from tests.support.references import _kept_elements, _kept_rows, _mean_of_examples


def transformed_l1(x, mask=None, per="example", beta=1.0):
    """Zhang and Xin 2018, equation 1.3."""
    return _mean_of_examples(lambda v: (beta + 1) * abs(v) / (beta + abs(v)), x, mask, per)


def log_sparsity(x, mask=None, per="example", eps=1.0):
    """Candes, Wakin and Boyd 2008, section 2.3, less log(eps)."""
    return _mean_of_examples(lambda v: math.log1p(abs(v) / eps), x, mask, per)


def excess(x, mask=None, per="example", threshold=0.0):
    """Kundu et al. 2023: what is beyond the margin."""
    return _mean_of_examples(lambda v: max(0.0, abs(v) - threshold), x, mask, per)


def _mean_of_vectors(f, x, mask):
    examples = _kept_elements(np.asarray(x, "float64"), mask)
    return sum(f(elements) for elements in examples) / len(examples) if examples else 0.0


def gradient_penalty(x, mask=None, norm=1.0):
    """Gulrajani et al. 2017, equation 3, for gradients: the squared distance of a norm from one."""
    return _mean_of_vectors(lambda elements: (math.sqrt(sum(v * v for v in elements)) - norm) ** 2, x, mask)


def hoyer(x, mask=None):
    """Hoyer 2004: L1 over L2."""

    def of_example(elements):
        squares = sum(v * v for v in elements)
        return sum(abs(v) for v in elements) / math.sqrt(squares) if squares else 0.0

    return _mean_of_vectors(of_example, x, mask)


def hoyer_square(x, mask=None):
    """Yang, Wen and Li 2020, equation 3."""

    def of_example(elements):
        squares = sum(v * v for v in elements)
        return sum(abs(v) for v in elements) ** 2 / squares if squares else 0.0

    return _mean_of_vectors(of_example, x, mask)


def _examples(x, mask):
    """For each example with anything left: its array (features last) and the kept positions."""
    x = np.asarray(x, "float64")
    x = x.reshape(-1, 1) if x.ndim == 1 else x
    for n in range(x.shape[0]):
        kept = {}
        for where in np.ndindex(*x.shape[1:-1]):
            full = (n, *where)
            kept[where] = mask is None or bool(mask[full[: mask.ndim]])
        if any(kept.values()) and 0 not in x.shape[1:]:
            yield x[n], kept


def _average(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def group_lasso(x, mask=None, axis=-1):
    """Yuan and Lin 2006, with unit weights: the sum of the norms of the groups."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)

    def of_example(example, kept):
        rank = example.ndim + 1
        along = {a % rank - 1 for a in axes}
        squares = {}
        for i in np.ndindex(*example.shape):
            if kept[i[:-1]]:
                group = tuple(k for a, k in enumerate(i) if a not in along)
                squares[group] = squares.get(group, 0.0) + float(example[i]) ** 2
        return sum(math.sqrt(s) for s in squares.values())

    return _average(of_example(e, k) for e, k in _examples(x, mask))


def total_variation(x, mask=None, per="example"):
    """Rudin, Osher and Fatemi 1992, anisotropic: absolute differences of neighbours that are both kept."""

    def of_example(example, kept):
        total = 0.0
        for here in kept:
            for axis in range(len(here)):
                there = (*here[:axis], here[axis] + 1, *here[axis + 1 :])
                if there in kept and kept[here] and kept[there]:
                    total += sum(
                        abs(float(b) - float(a)) for a, b in zip(example[here], example[there], strict=True)
                    )
        elements = sum(kept.values()) * example.shape[-1]
        return total / elements if per == "element" else total

    return _average(of_example(e, k) for e, k in _examples(x, mask))


def temporal_smoothness(x, mask=None):
    """Merity et al. 2017, TAR: the mean squared step, from one kept time to the next."""

    def of_example(example, kept):
        squares = []
        for rest in {where[1:] for where in kept}:
            times = sorted(where[0] for where in kept if where[1:] == rest and kept[where])
            for a, b in itertools.pairwise(times):
                squares += [
                    (float(q) - float(p)) ** 2
                    for p, q in zip(example[(a, *rest)], example[(b, *rest)], strict=True)
                ]
        return _average(squares)

    return _average(of_example(e, k) for e, k in _examples(x, mask))


def _moments(rows, unbiased):
    """The mean and the covariance matrix; zeros where there is nothing to divide by."""
    count, features = len(rows), len(rows[0])
    means = [sum(row[j] for row in rows) / count for j in range(features)]
    divisor = count - 1 if unbiased else count
    covariance = np.zeros((features, features))
    for i in range(features):
        for j in range(features):
            total = sum((row[i] - means[i]) * (row[j] - means[j]) for row in rows)
            covariance[i, j] = total / divisor if divisor else 0.0
    return means, covariance


def covariance(x, mask=None, axis=-1):
    """Bardes et al. 2022, equations 3 and 4."""
    rows = _kept_rows(x, mask, axis)
    return _covariance(rows) if rows else 0.0


def _covariance(rows):
    _, c = _moments(rows, unbiased=True)
    d = len(c)
    return sum(c[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d


def variance(x, mask=None, axis=-1, target=1.0, eps=1e-4):
    """Bardes et al. 2022, equations 1 and 2."""
    rows = _kept_rows(x, mask, axis)
    return _variance(rows, target, eps) if rows else 0.0


def _variance(rows, target=1.0, eps=1e-4):
    _, c = _moments(rows, unbiased=True)
    return sum(max(0.0, target - math.sqrt(c[j, j] + eps)) for j in range(len(c))) / len(c)


def _softmax(row):
    exps = [math.exp(v - max(row)) for v in row]
    return [e / sum(exps) for e in exps]


def _entropy(q, edge=1e-7):
    def log(v):
        return math.log(v) if v >= edge else math.log(edge) + (v - edge) / edge

    return -sum(v * log(v) for v in q)


def entropy(x, mask=None, axis=-1, from_logits=False):
    """Grandvalet and Bengio 2004: the mean entropy."""
    rows = _kept_rows(x, mask, axis)
    return _average(_entropy(_softmax(row) if from_logits else row) for row in rows)


def confidence(x, mask=None, axis=-1, from_logits=False):
    """Pereyra et al. 2017, plus log K."""
    rows = _kept_rows(x, mask, axis)
    # A row that is not a distribution may have a larger entropy than log K.
    return _average(max(0.0, math.log(len(r)) - _entropy(_softmax(r) if from_logits else r)) for r in rows)


def z_loss(x, mask=None, axis=-1):
    """Zoph et al. 2022, equation 5."""

    def logsumexp(row):
        return max(row) + math.log(sum(math.exp(v - max(row)) for v in row))

    return _average(logsumexp(row) ** 2 for row in _kept_rows(x, mask, axis))


def load_balance(x, mask=None, axis=-1, top_k=1, from_logits=True):
    """Fedus et al. 2022, equations 4 to 6; each of a row's choices counts as one."""
    rows = _kept_rows(x, mask, axis)
    if not rows:
        return 0.0
    probabilities = [_softmax(row) if from_logits else row for row in rows]
    experts = len(rows[0])
    total = 0.0
    for i in range(experts):
        chosen = sum(1 for row in rows if i in sorted(range(experts), key=lambda j: -row[j])[:top_k])
        total += chosen / len(rows) * sum(row[i] for row in probabilities) / len(rows)
    return experts * total


def _kernel(a, b, kernel, bandwidth):
    scaled = sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / (2 * bandwidth**2)
    return math.exp(-scaled) if kernel == "rbf" else 1 / (1 + scaled)


def _within(rows, kernel, bandwidth):
    n = len(rows)
    pairs = [_kernel(rows[i], rows[j], kernel, bandwidth) for i in range(n) for j in range(n) if i != j]
    return sum(pairs) / (n * (n - 1))


# Expectations of a kernel under a normal distribution of `d` features: of d^2 = |x - y|^2 the characteristic
# form E exp(-t |x - y|^2 / 2) = (1 + t)^(-d/2) exp(-t |x|^2 / 2 / (1 + t)), integrated over t for "imq".
def _to_normal(size, d, kernel, bandwidth, spread=1.0):
    def gaussian(t):  # t is 1 / h^2
        return (1 + spread * t) ** (-d / 2) * np.exp(-t * size / 2 / (1 + spread * t))

    if kernel == "rbf":
        return float(gaussian(1 / bandwidth**2))
    nodes, shares = np.polynomial.legendre.leggauss(400)
    v = (nodes + 1) / 2  # s = v^4 / (1 - v): from 0 to infinity, with many nodes near 0
    s = v**4 / (1 - v)
    slope = (4 * v**3 * (1 - v) + v**4) / (1 - v) ** 2
    return float(np.sum(shares / 2 * slope * np.exp(-s) * gaussian(s / bandwidth**2)))


def mmd(x, mask=None, axis=-1, kernel="rbf", bandwidth=1.0):
    """Gretton et al. 2012, equation 3, with expectations under the standard normal."""
    rows = _kept_rows(x, mask, axis)
    if len(rows) < 2:
        return 0.0
    d = len(rows[0])
    cross = _average(_to_normal(sum(v * v for v in row), d, kernel, bandwidth) for row in rows)
    of_normal = _to_normal(0.0, d, kernel, bandwidth, spread=2.0)
    return _within(rows, kernel, bandwidth) + of_normal - 2 * cross
