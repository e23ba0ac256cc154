"""The penalties compared with those of other packages: how far apart, and what makes each fail.

Run from the root of the repository, in an environment with this package, PyTorch, rich and any of lightly,
pytorch-metric-learning, optax, kornia, torchmetrics and tensorflow-probability; what is missing is named
and left out:

    python -m benchmarks.peers_penalties
"""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import warnings
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table

import keras_penalties as kp
from benchmarks import peers
from tests.support import references, references_catalogue, references_pairs

warnings.simplefilter("ignore")
CONSOLE = Console(width=150)
R = kp.regularizers


def of_arrays(function, backend="torch"):
    """The value, and all gradients as one array, as a function of arrays."""
    run = peers.OF_ARRAYS[backend or "torch"](function)

    def one(*xs):
        value, slopes = run(*xs)
        return value, np.concatenate([s.ravel() for s in slopes])

    return one


def measure(penalty):
    return of_arrays(lambda *xs: penalty.measure(list(xs) if len(xs) > 1 else xs[0]))


def huber(y, p):
    """Huber 1964 with delta 1, the mean over all."""
    r = np.abs(np.asarray(y, "float64") - np.asarray(p, "float64"))
    return float(np.mean(np.where(r <= 1, 0.5 * r**2, r - 0.5)))


def barlow_twins(a, b):
    """The same whatever the size of the features is: divided out, since the loops take 1e-30 for constant."""
    a, b = (x / max(np.abs(x).max(), 1e-300) for x in (a, b))
    return references_pairs.barlow_twins([a, b])


def of_two(formula, **options):
    return lambda a, b: formula([a, b], **options)


# Ours, the formula in NumPy loops, and the shape of an input.
OURS = {
    "VICReg, halved variance": (
        measure(R.VICReg(1.0, variance=12.5)),
        of_two(references_pairs.vicreg, variance=12.5),
        2,
    ),
    "VICReg's covariance": (measure(R.Covariance(1.0)), references_catalogue.covariance, 1),
    "VICReg's variance": (measure(R.Variance(1.0)), references_catalogue.variance, 1),
    "BarlowTwins": (measure(R.BarlowTwins(1.0)), barlow_twins, 2),
    "Huber": (of_arrays(kp.losses.Huber()), huber, 2),
    "TotalVariation": (measure(R.TotalVariation(1.0)), references_catalogue.total_variation, "image"),
    "GaussianKL": (measure(R.GaussianKL(1.0)), of_two(references_pairs.gaussian_kl), 2),
    "Entropy of logits": (
        measure(R.Entropy(1.0, from_logits=True)),
        partial(references_catalogue.entropy, from_logits=True),
        1,
    ),
    "L1": (measure(R.L1(1.0)), references.l1, 1),
    "L2": (measure(R.L2(1.0)), references.l2, 1),
    "Match, cosine": (
        measure(R.Match(1.0, "cosine_similarity")),
        of_two(references_pairs.match, loss="cosine_similarity"),
        2,
    ),
    "Match, soft targets": (
        measure(R.Match(1.0, "kl_divergence", temperature=peers.SOFT)),
        of_two(references_pairs.match, loss="kl_divergence", temperature=peers.SOFT),
        2,
    ),
    "InfoNCE": (
        measure(R.InfoNCE(1.0, peers.TEMPERATURE)),
        of_two(references_pairs.info_nce, temperature=peers.TEMPERATURE),
        2,
    ),
    "InfoNCE, other view": (
        measure(R.InfoNCE(1.0, peers.TEMPERATURE, symmetric=False, negatives="other_view")),
        of_two(
            references_pairs.info_nce,
            temperature=peers.TEMPERATURE,
            symmetric=False,
            negatives="other_view",
        ),
        2,
    ),
    "TripletMargin": (
        measure(R.TripletMargin(1.0, peers.MARGIN)),
        lambda *xs: references_pairs.triplet_margin(xs, (None,) * 3, peers.MARGIN),
        3,
    ),
    "Hint": (measure(R.Hint(1.0, per="element")), of_two(references_pairs.hint, per="element"), 2),
}


def drawn(shape, seed=0):
    """As many arrays as a penalty takes."""
    random = np.random.default_rng(seed)
    size = (4, 6, 5, 3) if shape == "image" else (16, 6)
    return [random.normal(size=size).astype("float32") for _ in range(shape if shape in (2, 3) else 1)]


def corners(shape):
    xs = drawn(shape)
    constant = np.arange(xs[0].shape[-1]) % 2 > 0
    changed = {
        "zeros": lambda x: 0 * x,
        "ones": lambda x: 0 * x + 1,
        "equal rows": lambda x: 0 * x + x[:1],
        "constant columns": lambda x: np.where(constant, np.float32(0.1), x),
        "one row": lambda x: x[:1],
        "1e4": lambda x: np.float32(1e4) * x,
        "1e-30": lambda x: np.float32(1e-30) * x,
        "float16": lambda x: x.astype("float16"),
        "300, float16": lambda x: (300 * x).astype("float16"),
    }
    return {name: [change(x) for x in xs] for name, change in changed.items()}


def verdict(run, formula, xs):
    try:
        value, slope = run(*xs)
    except Exception as error:
        return f"error ({type(error).__name__})"
    with np.errstate(all="ignore"):
        try:
            expected = formula(*[x.astype("float64") for x in xs])
        except OverflowError:
            expected = np.inf
    if expected > np.finfo("float32").max:
        return "(too large)"
    if not np.isfinite(value):
        return f"value {value}, not {expected:.4g}"
    if not np.isfinite(slope).all():
        if not np.isnan(slope).any() and xs[0].dtype == "float16":
            return "(slope too large)"
        return "NaN gradient" if np.isnan(slope).any() else "infinite gradient"
    if abs(value - expected) > 1e-2 * max(abs(expected), 1e-6):
        return f"{value:.4g}, not {expected:.4g}"
    return "ok"


def difference(one, other, shape):
    """The largest relative difference of the value and of the gradient, over 20 draws."""
    values, slopes = [], []
    for seed in range(20):
        (a, da), (b, db) = (run(*drawn(shape, seed)) for run in (one, other))
        values.append(abs(a - b) / abs(a))
        slopes.append(np.abs(da - db).max() / np.abs(da).max())
    return max(values), max(slopes)


def main():
    found = {
        peer: {name: of_arrays(function, backend) for name, function in functions.items()}
        for peer, (backend, functions) in peers.installed(OURS).items()
    }
    heads = ("penalty", "compared with", "value", "gradient")
    table = Table(*heads, title="Largest relative difference, 20 draws")
    for peer, functions in found.items():
        for name, run in functions.items():
            table.add_row(name, peer, *(f"{d:.1e}" for d in difference(OURS[name][0], run, OURS[name][2])))
    CONSOLE.print(table)

    for name, (ours, formula, shape) in OURS.items():
        beside = {peer: functions[name] for peer, functions in found.items() if name in functions}
        table = Table("input", "keras-penalties", *beside, title=f"{name}, against the formula in float64")
        for corner, xs in corners(shape).items():
            table.add_row(corner, *(verdict(run, formula, xs) for run in (ours, *beside.values())))
        CONSOLE.print(table)


if __name__ == "__main__":
    main()
