"""What other packages have in place of ours: functions of tensors, under the name of ours.

A penalty is a function of its tensors, a loss of `(labels, rows)`. What is not installed is left out.
"""

import importlib
import importlib.metadata
import importlib.util
import pathlib
import sys
import types
from unittest.mock import MagicMock

import numpy as np

MARGIN, TEMPERATURE, SOFT = 1.0, 0.2, 2.0


def of_lightly():
    # Its `__init__` files want torchvision, which these losses do not use.
    missing = importlib.util.find_spec("torchvision") is None
    for name in ("", ".ops", ".transforms", ".transforms.functional") if missing else ():
        sys.modules[f"torchvision{name}"] = MagicMock()
    losses = importlib.import_module("lightly.loss")
    terms = importlib.import_module("lightly.loss.vicreg_loss")
    for name in [name for name, module in sys.modules.items() if isinstance(module, MagicMock)]:
        del sys.modules[name]
    sigreg = importlib.import_module("lightly.loss.lejepa_loss").SIGReg()
    ntxent = losses.NTXentLoss(TEMPERATURE)

    def two_views(y, p):
        order = y.argsort(stable=True)
        if len(y) % 2 or (y[order[::2]] != y[order[1::2]]).any() or len(y.unique()) != len(y) // 2:
            raise NotImplementedError("not two views of each")
        return ntxent(p[order[::2]], p[order[1::2]])

    return {
        "VICReg, halved variance": losses.VICRegLoss(),
        "VICReg's covariance": terms.covariance_loss,
        "VICReg's variance": terms.variance_loss,
        "BarlowTwins": losses.BarlowTwinsLoss(0.0051),
        "NTXent": two_views,
        "InfoNCE": ntxent,
        "Match, cosine": losses.NegativeCosineSimilarity(),
        "KoLeo": losses.KoLeoLoss(),
        "SIGReg": sigreg,
        "NTXent, neighbours": lambda y, p: ntxent(p[::2], p[1::2]),
    }


def of_metric_learning():
    from pytorch_metric_learning import distances, losses, miners, reducers

    plain = {power: distances.LpDistance(normalize_embeddings=False, power=power) for power in (1, 2)}

    def triplet(power, mining=None):
        loss = losses.TripletMarginLoss(MARGIN, distance=plain[power], reducer=reducers.MeanReducer())
        if mining is None:
            return lambda y, p: loss(p, y)
        mine = miners.BatchHardMiner(distance=plain[power])
        return lambda y, p: loss(p, y, mine(p, y))

    supervised, ntxent = losses.SupConLoss(TEMPERATURE), losses.NTXentLoss(TEMPERATURE)
    pairwise, vicreg = losses.ContrastiveLoss(0, MARGIN, distance=plain[1]), losses.VICRegLoss()
    return {
        "VICReg, halved variance": lambda a, b: vicreg(a, ref_emb=b),
        "SupervisedContrastive": lambda y, p: supervised(p, y),
        "NTXent": lambda y, p: ntxent(p, y),
        "InfoNCE": losses.SelfSupervisedLoss(ntxent),
        "InfoNCE, other view": losses.SelfSupervisedLoss(ntxent, symmetric=False),
        "Triplet all, euclidean": triplet(1),
        "Triplet all, squared": triplet(2),
        "Triplet hard, euclidean": triplet(1, "hard"),
        "Triplet hard, squared": triplet(2, "hard"),
        # Of another formula, without squares.
        "PairwiseContrastive": lambda y, p: pairwise(p, y),
    }


def of_torchdistill():
    losses = importlib.import_module("torchdistill.losses.mid_level")
    attention = losses.ATLoss({}, mode="paper")
    relations = losses.RKDLoss("s", "t", dist_factor=1, angle_factor=2, reduction="mean")
    return {
        # Of the paper's formula without its half; torchdistill's maps have their channels first.
        "AttentionTransfer": lambda s, t: (
            0.5 * attention.compute_at_loss_paper(*(x.movedim(-1, 1) for x in (s, t.detach()))) / len(s)
        ),
        # Of means that count each row with itself.
        "RelationalKD": lambda s, t: relations({"s": {"output": s}}, {"t": {"output": t}}),
    }


def of_torch():
    import torch
    from torch.distributions import Categorical, Normal, kl_divergence

    def kl(mean, log_var):
        code = Normal(mean, torch.exp(0.5 * log_var))
        return kl_divergence(code, Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum(1).mean()

    def soft_targets(student, teacher):
        q, p = (x / SOFT for x in (student, teacher))
        divergence = torch.nn.functional.kl_div(q.log_softmax(1), p.softmax(1), reduction="batchmean")
        return SOFT**2 * divergence

    return {
        "Huber": lambda y, p: torch.nn.functional.huber_loss(p, y),
        "GaussianKL": kl,
        "Entropy of logits": lambda x: Categorical(logits=x).entropy().mean(),
        "Hint": lambda s, t: 0.5 * torch.nn.functional.mse_loss(s, t.detach()),
        "Match, soft targets": soft_targets,
        "TripletMargin": torch.nn.TripletMarginLoss(MARGIN),
    }


def of_keras():
    import keras

    huber, l1, l2 = keras.losses.Huber(), keras.regularizers.L1(1.0), keras.regularizers.L2(1.0)

    def rows(x):
        return x.shape[0] or keras.ops.cast(keras.ops.shape(x)[0], x.dtype)

    return {
        "Huber": lambda y, p: huber(y, p),
        "L1": lambda x: l1(x) / rows(x),
        "L2": lambda x: l2(x) / rows(x),
    }


def of_optax():
    import optax

    return {
        "Huber": lambda y, p: optax.losses.huber_loss(p, y).mean(),
        "NTXent": lambda y, p: optax.losses.ntxent(p, y, TEMPERATURE),
    }


def of_kornia():
    from kornia.losses import total_variation

    return {"TotalVariation": lambda x: total_variation(x.permute(0, 3, 1, 2)).sum(1).mean()}


def of_torchmetrics():
    from torchmetrics.functional.image import total_variation

    return {"TotalVariation": lambda x: total_variation(x.permute(0, 3, 1, 2), "sum") / x.shape[0]}


def of_tensorflow():
    import tensorflow as tf

    return {
        "TotalVariation": lambda x: tf.reduce_mean(tf.image.total_variation(x)),
        "Huber": lambda y, p: tf.reduce_mean(tf.compat.v1.losses.huber_loss(y, p)),
    }


def of_probability():
    import tensorflow as tf
    from tensorflow_probability import distributions as tfd

    def kl(mean, log_var):
        code = tfd.MultivariateNormalDiag(mean, tf.exp(0.5 * log_var))
        return tf.reduce_mean(
            tfd.kl_divergence(code, tfd.MultivariateNormalDiag(tf.zeros_like(mean), tf.ones_like(mean)))
        )

    def entropy(x):
        return tf.reduce_mean(tfd.Categorical(logits=x).entropy())

    return {"GaussianKL": kl, "Entropy of logits": entropy}


def of_batch_correlation():
    from keras_bcr import batch_corr

    # Of another formula: the mean of absolute correlations, where ours has squares of what they lack.
    return {"BarlowTwins, correlations alone": batch_corr}


def of_addons():
    # It wants a Keras of its time; its losses do not.
    root = pathlib.Path(importlib.util.find_spec("tensorflow_addons").submodule_search_locations[0])
    for name in ("", ".losses", ".utils", ".utils.types"):
        module = types.ModuleType(f"tensorflow_addons{name}")
        module.__path__ = [str(root.joinpath(*name.split(".")))]
        module.TensorLike = module.FloatTensorLike = object
        sys.modules[module.__name__] = module
    losses = importlib.import_module("tensorflow_addons.losses.triplet")
    return {
        f"Triplet {mining}, {distance}": (
            lambda y, p, loss=loss, metric=metric: loss(y, p, MARGIN, distance_metric=metric)
        )
        for mining, loss in (
            ("semi_hard", losses.triplet_semihard_loss),
            ("hard", losses.triplet_hard_loss),
        )
        for distance, metric in (("euclidean", "L2"), ("squared", "squared-L2"))
    }


def of_remediation():
    losses = importlib.import_module("tensorflow_model_remediation.min_diff.losses.mmd_loss")
    # Of the kernel exp(-d**2 / length**2), as ours.
    return {"MinDiff": losses.MMDLoss(enable_summary_histogram=False)}


# By package: on which backend it runs (None: on any), and what makes its functions.
PEERS = {
    "lightly": ("torch", of_lightly),
    "pytorch-metric-learning": ("torch", of_metric_learning),
    "torchdistill": ("torch", of_torchdistill),
    "torch": ("torch", of_torch),
    "kornia": ("torch", of_kornia),
    "torchmetrics": ("torch", of_torchmetrics),
    "keras": (None, of_keras),
    "keras-bcr": ("tensorflow", of_batch_correlation),
    "tensorflow": ("tensorflow", of_tensorflow),
    "tensorflow-probability": ("tensorflow", of_probability),
    "tensorflow-model-remediation": ("tensorflow", of_remediation),
    "tensorflow-addons": ("tensorflow", of_addons),
    "optax": ("jax", of_optax),
}


def installed(names, on=None):
    """For each package that is there, with its version: its backend, and its functions of these names.
    With `on`, of one backend alone."""
    found = {}
    for package, (backend, make) in PEERS.items():
        if on is not None and backend not in (None, on):
            continue
        try:
            functions = {name: f for name, f in make().items() if name in names}
            version = importlib.metadata.version(package)
        except (ImportError, AttributeError) as error:
            print(f"Without {package}: {error}.", file=sys.stderr)
            continue
        if functions:
            found[f"{package} {version}"] = backend, functions
    return found


def of_torch_arrays(function):
    """A torch function of tensors as one of arrays: its value, and the gradients of all of floats."""
    import torch

    def run(*xs):
        xs = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in xs]
        value = function(*xs)
        value.backward()
        return float(value), [x.grad.float().numpy() for x in xs if x.grad is not None]

    return run


def of_jax_arrays(function):
    import jax

    def run(*xs):
        floats = tuple(i for i, x in enumerate(xs) if x.dtype.kind == "f")
        value, slopes = jax.value_and_grad(function, argnums=floats)(*map(jax.numpy.asarray, xs))
        return float(value), [np.asarray(s, "float32") for s in slopes]

    return run


def of_tensorflow_arrays(function):
    import tensorflow as tf

    def run(*xs):
        xs = [tf.constant(x) for x in xs]
        with tf.GradientTape() as tape:
            tape.watch([x for x in xs if x.dtype.is_floating])
            value = function(*xs)
        slopes = tape.gradient(value, [x for x in xs if x.dtype.is_floating])
        return float(value), [tf.cast(s, "float32").numpy() for s in slopes if s is not None]

    return run


OF_ARRAYS = {"torch": of_torch_arrays, "jax": of_jax_arrays, "tensorflow": of_tensorflow_arrays}
