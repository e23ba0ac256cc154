"""The losses of a batch compared with those of other packages: how far apart, and what makes each fail.

Run from the root of the repository, in an environment with this package, PyTorch and any of lightly,
pytorch-metric-learning, optax and tensorflow-addons; what is missing is named and left out:

    python -m benchmarks.peers_losses
"""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import warnings

import numpy as np

import keras_penalties as kp
from benchmarks import peers
from benchmarks.peers import MARGIN, TEMPERATURE
from tests.losses import batch_cases as loops

warnings.simplefilter("ignore")


def of_arrays(function, backend="torch"):
    """The value, and the gradient of the rows, as a function of arrays."""
    run = peers.OF_ARRAYS[backend or "torch"](function)

    def one(y, p):
        value, (slope,) = run(y, p)
        return value, slope

    return one


L = kp.losses
OURS = {
    "SupervisedContrastive": (
        L.SupervisedContrastive(TEMPERATURE),
        lambda y, p, i: loops.supervised(y, p, i, TEMPERATURE),
    ),
    "NTXent": (L.NTXent(TEMPERATURE), lambda y, p, i: loops.ntxent(y, p, i, TEMPERATURE)),
    "PairwiseContrastive": (L.PairwiseContrastive(MARGIN), loops.contrastive),
    **{
        f"Triplet {mining}, {distance}": (L.Triplet(MARGIN, mining, distance), loops.triplets(mine, power))
        for mining, mine in (("semi_hard", loops.semi_hard), ("hard", loops.hard), ("all", loops.every))
        for distance, power in (("euclidean", 1), ("squared", 2))
    },
}


OTHER = ("PairwiseContrastive",)  # of which no peer has the formula
OWN = {name: of_arrays(loss) for name, (loss, _) in OURS.items()}


def formula(name, y, p):
    """The mean over the rows of what the paper's formula gives, in float64."""
    p = p.astype("float64")
    return np.mean([OURS[name][1](list(y), p, i) for i in range(len(y))])


def pairs(seed, classes=8, views=2, features=16):
    random = np.random.RandomState(seed)
    return random.permutation(np.repeat(np.arange(classes), views)), random.randn(
        classes * views, features
    ).astype("float32")


def corners():
    # More than 25 rows, from where on `torch.cdist` goes through products of rows.
    y, p = pairs(0, 16, 2, 3)
    index = np.arange(32)
    return {
        "zeros": (y, 0 * p),
        "a row of zeros": (y, p * (index > 0)[:, None].astype("float32")),
        "equal rows": (y, 0 * p + p[0]),
        "one row": (y[:1], p[:1]),
        "one class": (0 * y, p),
        "all different": (index, p),
        "one without a positive": (np.where(index == 0, 99, y), p),
        "1e4": (y, 1e4 * p),
        "far from 0 by 1e4": (y, 1e4 + p),
        "1e-30": (y, np.float32(1e-30) * p),
        "float16": (y, p.astype("float16")),
        "1e4, float16": (y, (1e4 * p).astype("float16")),
        "1e-4, float16": (y, (1e-4 * p).astype("float16")),
    }


def verdict(run, name, y, p):
    try:
        value, slope = run(y, p)
    except NotImplementedError:
        return "-"
    except Exception as error:
        return f"error ({type(error).__name__})"
    if not np.isfinite(value):
        return f"value {value}"
    if not np.isfinite(slope).all():
        return "NaN gradient" if np.isnan(slope).any() else "infinite gradient"
    if name in OTHER and run not in OWN.values():
        return "finite"
    expected = formula(name, y, p)
    if abs(value - expected) > 1e-2 * max(abs(expected), 1e-2):
        return f"{value:.4g}, not {expected:.4g}"
    return "ok"


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def main():
    beside = [
        (name, peer, of_arrays(function, backend))
        for peer, (backend, functions) in peers.installed(OURS).items()
        for name, function in functions.items()
    ]

    print("\nLargest difference over 20 batches of random rows, of the value and of the gradient\n")
    rows = []
    for name, peer, run in beside:
        for views in (2, 4):
            if name in OTHER or (views != 2 and "lightly" in peer):
                continue
            values, slopes = [], []
            for seed in range(20):
                y, p = pairs(seed, views=views)
                (a, da), (b, db) = OWN[name](y, p), run(y, p)
                values.append(abs(a - b) / abs(a))
                slopes.append(np.abs(da - db).max() / np.abs(da).max())
            rows.append((name, f"{views} a class", peer, f"{max(values):.1e}", f"{max(slopes):.1e}"))
    table(("loss", "rows", "compared with", "value (relative)", "gradient (relative)"), rows)

    print("Inputs in a corner: against the formula in float64, the mean over all rows\n")
    columns = [(name, "keras-penalties", OWN[name]) for name in OURS]
    for name in OURS:
        used = [c for c in columns + beside if c[0] == name]
        print(f"{name}\n")
        table(
            ("input", *(peer for _, peer, _ in used)),
            [
                (corner, *(verdict(run, name, y, p) for _, _, run in used))
                for corner, (y, p) in corners().items()
            ],
        )


if __name__ == "__main__":
    main()
