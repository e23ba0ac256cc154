"""The penalties beside those of other packages: how far apart, and what makes each fail.

Run from the root of the repository, in an environment with this package, PyTorch, rich and any of lightly,
pytorch-metric-learning, optax, kornia and torchmetrics; what is missing is named and left out:

    KERAS_BACKEND=torch PYTHONPATH=. python benchmarks/peers_penalties.py
"""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import importlib
import importlib.metadata
import importlib.util
import sys
import warnings
from functools import partial
from unittest.mock import MagicMock

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import keras_penalties as kp
from tests import references, references_catalogue, references_pairs

warnings.simplefilter("ignore")
CONSOLE = Console(width=150)
R = kp.regularizers


def of_torch(function):
    """A torch function of tensors as a function of arrays: its value and all gradients."""

    def run(*xs):
        xs = [torch.tensor(x, requires_grad=True) for x in xs]
        value = function(*xs)
        value.backward()
        slopes = [x.grad for x in xs if x.grad is not None]
        return float(value), np.concatenate([s.float().numpy().ravel() for s in slopes])

    return run


def of_jax(function):
    def run(*xs):
        import jax

        value, slopes = jax.value_and_grad(function, argnums=tuple(range(len(xs))))(
            *map(jax.numpy.asarray, xs)
        )
        return float(value), np.concatenate([np.asarray(s, "float32").ravel() for s in slopes])

    return run


def of_tensorflow(function):
    def run(*xs):
        import tensorflow as tf

        xs = [tf.constant(x) for x in xs]
        with tf.GradientTape() as tape:
            tape.watch(xs)
            value = function(*xs)
        slopes = [s for s in tape.gradient(value, xs) if s is not None]
        return float(value), np.concatenate([np.asarray(s, "float32").ravel() for s in slopes])

    return run


def measure(penalty):
    return of_torch(lambda *xs: penalty.measure(list(xs) if len(xs) > 1 else xs[0]))


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
    "Huber": (of_torch(lambda y, p: kp.losses.Huber()(y, p)), huber, 2),
    "TotalVariation": (measure(R.TotalVariation(1.0)), references_catalogue.total_variation, "image"),
    "GaussianKL": (measure(R.GaussianKL(1.0)), of_two(references_pairs.gaussian_kl), 2),
    "Entropy of logits": (
        measure(R.Entropy(1.0, from_logits=True)),
        partial(references_catalogue.entropy, from_logits=True),
        1,
    ),
    "L1": (measure(R.L1(1.0)), references.l1, 1),
    "L2": (measure(R.L2(1.0)), references.l2, 1),
    "Hint": (measure(R.Hint(1.0, per="element")), of_two(references_pairs.hint, per="element"), 2),
}


def of_pytorch():
    from torch.distributions import Categorical, Normal, kl_divergence

    def kl(mean, log_var):
        code = Normal(mean, torch.exp(0.5 * log_var))
        return kl_divergence(code, Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum(1).mean()

    return {
        "Huber": of_torch(lambda y, p: torch.nn.HuberLoss()(p, y)),
        "GaussianKL": of_torch(kl),
        "Entropy of logits": of_torch(lambda x: Categorical(logits=x).entropy().mean()),
        "Hint": of_torch(lambda s, t: 0.5 * torch.nn.functional.mse_loss(s, t.detach())),
    }


def of_keras():
    import keras

    return {
        "Huber": of_torch(lambda y, p: keras.losses.Huber()(y, p)),
        "L1": of_torch(lambda x: keras.regularizers.L1(1.0)(x) / x.shape[0]),
        "L2": of_torch(lambda x: keras.regularizers.L2(1.0)(x) / x.shape[0]),
    }


def of_lightly():
    if importlib.util.find_spec("torchvision") is None:  # which its `__init__` wants, not these losses
        for name in ("", ".ops", ".transforms", ".transforms.functional"):
            sys.modules[f"torchvision{name}"] = MagicMock()
    losses = importlib.import_module("lightly.loss")
    module = importlib.import_module("lightly.loss.vicreg_loss")
    for name in [name for name, of in sys.modules.items() if isinstance(of, MagicMock)]:
        del sys.modules[name]
    return {
        "VICReg, halved variance": of_torch(losses.VICRegLoss()),
        "VICReg's covariance": of_torch(module.covariance_loss),
        "VICReg's variance": of_torch(module.variance_loss),
        "BarlowTwins": of_torch(losses.BarlowTwinsLoss(0.0051)),
    }


def of_metric_learning():
    from pytorch_metric_learning.losses import VICRegLoss

    return {"VICReg, halved variance": of_torch(lambda a, b: VICRegLoss()(a, ref_emb=b))}


def of_optax():
    import optax

    return {"Huber": of_jax(lambda y, p: optax.losses.huber_loss(p, y).mean())}


def of_kornia():
    from kornia.losses import total_variation

    return {"TotalVariation": of_torch(lambda x: total_variation(x.permute(0, 3, 1, 2)).sum(1).mean())}


def of_torchmetrics():
    from torchmetrics.functional.image import total_variation

    return {"TotalVariation": of_torch(lambda x: total_variation(x.permute(0, 3, 1, 2), "sum") / x.shape[0])}


def of_tf():
    import tensorflow as tf

    return {
        "TotalVariation": of_tensorflow(lambda x: tf.reduce_mean(tf.image.total_variation(x))),
        "Huber": of_tensorflow(lambda y, p: tf.reduce_mean(tf.compat.v1.losses.huber_loss(y, p))),
    }


PEERS = {
    "torch": of_pytorch,
    "keras": of_keras,
    "lightly": of_lightly,
    "pytorch-metric-learning": of_metric_learning,
    "optax": of_optax,
    "kornia": of_kornia,
    "torchmetrics": of_torchmetrics,
    "tensorflow": of_tf,
}


def drawn(shape, seed=0):
    """One array or two, as a penalty takes them."""
    random = np.random.default_rng(seed)
    size = (4, 6, 5, 3) if shape == "image" else (16, 6)
    return [random.normal(size=size).astype("float32") for _ in range(2 if shape == 2 else 1)]


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
    found = {}
    for package, make in PEERS.items():
        try:
            found[f"{package} {importlib.metadata.version(package)}"] = make()
        except ImportError as error:
            CONSOLE.print(f"Without {package}: {error}.")

    table = Table("penalty", "beside", "value", "gradient", title="Largest relative difference, 20 draws")
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
