"""How far each exported class is from its paper's formula, written as NumPy loops in float64.

Run from the root of the repository; it prints a table in Markdown. Differences are relative to the value;
a value below 0.001 counts as 0.001:

    python -m benchmarks.differences
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import keras_penalties as kp
from tests.contracts import BASES, PENALTIES
from tests.contracts_pairs import SEVERAL_TENSORS
from tests.losses import batch_cases, cases

SEEDS = range(3)
SHAPES = [(6,), (7, 3), (3, 7), (1, 4), (4, 3, 2), (2, 2, 3, 2)]


def differences():
    """Pairs of a class and a relative difference."""
    for case in PENALTIES:
        penalty = case.make()
        for shape in case.shapes:
            for seed in SEEDS:
                x = case.draw(shape, seed)
                yield case.cls, relative(penalty.measure(x), case.expected(x))
    for case in SEVERAL_TENSORS:
        penalty = case.make()
        for shape in SHAPES:
            for seed in SEEDS:
                xs = case.draw(shape, seed)
                yield case.cls, relative(penalty.measure(xs), case.reference(xs))
    for case in cases.CASES:
        for seed in SEEDS:
            y, p = case.draw(np.random.RandomState(seed), 12)
            yield case.cls, relative(case.make()(y, p), case.reference(y, p).mean())
    for case in batch_cases.BATCH_CASES:
        for seed in SEEDS:
            y, p = batch_cases.draw(12, seed)
            yield case.cls, relative(case.make()(y, p), case.reference(y, p).mean())
    for seed in SEEDS:
        y, x = batch_cases.draw(12, seed)
        centers = np.random.RandomState(seed).randn(8, x.shape[1]).astype("float32")
        expected = np.mean([center(x[i], centers[y[i]]) for i in range(len(y))])
        yield kp.losses.Center, relative(kp.losses.Center(8)(y, x, centers=centers), expected)


def center(x, c):
    """Wen et al. 2016, equation 2, of one row."""
    return 0.5 * sum((float(a) - float(b)) ** 2 for a, b in zip(x, c, strict=True))


def relative(found, expected):
    return abs(float(found) - expected) / max(abs(expected), 1e-3)


def main():
    exported = [getattr(space, name) for space in (kp.regularizers, kp.losses) for name in space.__all__]
    largest = {c: 0.0 for c in exported if isinstance(c, type) and c not in BASES}
    missing = set(largest)
    for cls, difference in differences():
        if cls in largest:
            missing.discard(cls)
            largest[cls] = max(largest[cls], difference)
    assert not missing, missing
    print("| class | largest relative difference |\n| --- | --- |")
    for cls, difference in sorted(largest.items(), key=lambda item: item[0].__name__.lower()):
        print(f"| `{cls.__name__}` | {difference:.1e} |")


if __name__ == "__main__":
    main()
