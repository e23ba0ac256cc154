"""The formulas of the page "Your own, in ten lines", compared with plain NumPy."""

import numpy as np
import pytest

import keras_penalties as kp
from tests.support.helpers import ROOT
from tests.test_docs import blocks


@pytest.fixture(scope="module")
def page():
    """What the page defines."""
    namespace = {"__name__": "__main__"}
    for _, code in blocks((ROOT / "docs" / "your-own.md").read_text()):
        if "register" in code:  # also the first, which imports and defines it
            exec(code, namespace)
    return namespace


def correlation(x, y):
    return np.corrcoef(x, y)[0, 1]


def similarity_preserving(a, b):
    a, b = (g / np.linalg.norm(g, axis=1, keepdims=True) for g in (a @ a.T, b @ b.T))
    return np.square(a - b).sum() / len(a) ** 2


def dist(p, q):
    return sum(
        np.mean([1 - correlation(s, t) for s, t in zip(x, y, strict=True)]) for x, y in ((p, q), (p.T, q.T))
    )


def dispersive(x):
    pairs = [np.exp(-np.mean((u - v) ** 2) / 0.5) for u in x for v in x]
    return np.log(np.mean(pairs))


def of_attribute(x, y):
    return np.mean([correlation(u, v) ** 2 for u in x.T for v in y.T])


def hsic(a, b):
    center = np.eye(len(a)) - 1 / len(a)
    k, m = (np.array([[np.exp(-np.sum((u - v) ** 2) / 2 / len(u)) for u in x] for v in x]) for x in (a, b))
    return np.trace(k @ center @ m @ center) / len(a) ** 2


def mutual_information(p, q):
    joint = sum(np.outer(u, v) + np.outer(v, u) for u, v in zip(p, q, strict=True)) / 2 / len(p)
    independent = np.outer(joint.sum(axis=0), joint.sum(axis=0))
    return -np.sum(joint * np.log(joint / independent))


def importance(p):
    used = p.sum(axis=0)
    return used.var() / used.mean() ** 2


FORMULAS = {
    "SimilarityPreserving": (similarity_preserving, "ab"),
    "DIST": (dist, "pq"),
    "Dispersive": (dispersive, "a"),
    "Correlation": (of_attribute, "ab"),
    "HSIC": (hsic, "ab"),
    "MutualInformation": (mutual_information, "pq"),
    "Importance": (importance, "p"),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_is_its_formula_and_masks_rows(page, name):
    formula, letters = FORMULAS[name]
    xs = [page[letter] for letter in letters]
    penalty = page[name](1.0)

    def measured(xs, mask=None):
        return float(penalty.measure(xs if len(xs) > 1 else xs[0], mask))

    np.testing.assert_allclose(measured(xs), formula(*xs), rtol=1e-4)
    kept = np.array([True, True, False, True, True, True])
    np.testing.assert_allclose(measured(xs, kept), formula(*(x[kept] for x in xs)), rtol=1e-4)


@pytest.mark.parametrize("name", FORMULAS)
def test_keeps_the_rules(page, name):
    xs = [page[letter] for letter in FORMULAS[name][1]]
    kp.testing.check_penalty(page[name](0.1), inputs=xs if len(xs) > 1 else xs[0])


def test_matrices_keep_the_rules(page):
    kp.testing.check_penalty(page["Orthogonality"](0.1), shape=(4, 3, 3), skip=["padding"])
