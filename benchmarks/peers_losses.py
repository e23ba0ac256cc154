"""The losses of a batch beside those of other packages: how far apart, and what makes each fail.

Run from the root of the repository, in an environment with this package, PyTorch and any of lightly,
pytorch-metric-learning, optax and tensorflow-addons; what is missing is named and left out:

    KERAS_BACKEND=torch PYTHONPATH=. python benchmarks/peers_losses.py
"""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import importlib
import importlib.metadata
import importlib.util
import pathlib
import sys
import types
import warnings
from unittest.mock import MagicMock

import numpy as np
import torch

import keras_penalties as kp
from tests.losses import batch_cases as loops

warnings.simplefilter("ignore")
MARGIN, TEMPERATURE = 1.0, 0.2


def of_torch(loss):
    """A torch function of `(y, p)` as a function of arrays that gives its value and its gradient."""

    def run(y, p):
        p = torch.tensor(p, requires_grad=True)
        value = loss(torch.tensor(y), p)
        value.backward()
        return float(value), p.grad.float().numpy()

    return run


def of_jax(loss):
    def run(y, p):
        import jax

        value, slope = jax.value_and_grad(lambda p: loss(jax.numpy.asarray(y), p))(jax.numpy.asarray(p))
        return float(value), np.asarray(slope, "float32")

    return run


def of_tensorflow(loss):
    def run(y, p):
        import tensorflow as tf

        p = tf.constant(p)
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = loss(tf.constant(y), p)
        return float(value), np.asarray(tape.gradient(value, p), "float32")

    return run


def metric_learning():
    from pytorch_metric_learning import distances, losses, miners, reducers

    def by_rows(loss):
        return of_torch(lambda y, p: loss(p, y))

    def triplet(power, miner=None):
        distance = distances.LpDistance(normalize_embeddings=False, power=power)
        loss = losses.TripletMarginLoss(MARGIN, distance=distance, reducer=reducers.MeanReducer())
        if miner is None:
            return by_rows(loss)
        mine = miners.BatchHardMiner(distance=distance)
        return of_torch(lambda y, p: loss(p, y, mine(p, y)))

    distance = distances.LpDistance(normalize_embeddings=False)
    return {
        "SupervisedContrastive": by_rows(losses.SupConLoss(TEMPERATURE)),
        "NTXent": by_rows(losses.NTXentLoss(TEMPERATURE)),
        "Triplet all, euclidean": triplet(1),
        "Triplet all, squared": triplet(2),
        "Triplet hard, euclidean": triplet(1, "hard"),
        "Triplet hard, squared": triplet(2, "hard"),
        # Of another formula, without squares: only for what makes it fail.
        "PairwiseContrastive": by_rows(losses.ContrastiveLoss(0, MARGIN, distance=distance)),
    }


def lightly():
    # Its `__init__` files want torchvision, which this loss does not use.
    if importlib.util.find_spec("torchvision") is None:
        for name in ("", ".ops", ".transforms", ".transforms.functional"):
            sys.modules[f"torchvision{name}"] = MagicMock()
    loss = importlib.import_module("lightly.loss").NTXentLoss(TEMPERATURE)

    def two_views(y, p):
        order = torch.argsort(y, stable=True)
        if len(y) % 2 or (y[order[::2]] != y[order[1::2]]).any() or len(y.unique()) != len(y) // 2:
            raise NotImplementedError("not two views of each")
        return loss(p[order[::2]], p[order[1::2]])

    return {"NTXent": of_torch(two_views)}


def optax():
    import optax

    return {"NTXent": of_jax(lambda y, p: optax.losses.ntxent(p, y, TEMPERATURE))}


def addons():
    # It wants a Keras of its time; its losses do not.
    root = pathlib.Path(importlib.util.find_spec("tensorflow_addons").submodule_search_locations[0])
    for name in ("", ".losses", ".utils", ".utils.types"):
        module = types.ModuleType(f"tensorflow_addons{name}")
        module.__path__ = [str(root.joinpath(*name.split(".")))]
        module.TensorLike = module.FloatTensorLike = object
        sys.modules[module.__name__] = module
    losses = importlib.import_module("tensorflow_addons.losses.triplet")
    found = {}
    for mining, loss in (("semi_hard", losses.triplet_semihard_loss), ("hard", losses.triplet_hard_loss)):
        for distance, theirs in (("euclidean", "L2"), ("squared", "squared-L2")):
            found[f"Triplet {mining}, {distance}"] = of_tensorflow(
                lambda y, p, loss=loss, theirs=theirs: loss(y, p, MARGIN, distance_metric=theirs)
            )
    return found


PEERS = {
    "pytorch-metric-learning": metric_learning,
    "lightly": lightly,
    "optax": optax,
    "tensorflow-addons": addons,
}

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
OWN = {name: of_torch(loss) for name, (loss, _) in OURS.items()}


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
    found = {}
    for package, make in PEERS.items():
        try:
            found[f"{package} {importlib.metadata.version(package)}"] = make()
        except ImportError as error:
            print(f"Without {package}: {error}.")
    beside = [(name, peer, run) for peer, losses in found.items() for name, run in losses.items()]

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
    table(("loss", "rows", "beside", "value (relative)", "gradient (relative)"), rows)

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
