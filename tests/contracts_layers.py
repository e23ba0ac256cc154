"""The layers under contract: one case for each way in which an exported layer adds to the loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import keras_penalties as kp
from tests.contracts import PENALTIES, normal
from tests.support import references


@dataclass(frozen=True)
class LayerCase:
    """A layer that passes its input on and adds something to the loss.

    Args:
        cls: the class.
        arguments: makes the arguments of `cls`.
        added: `(x, mask) -> float`, what it adds to the loss.
        label: what the case shows, for the test's name.
        inputs: `(rng, shape) -> array`, what the layer is given.
    """

    cls: type
    arguments: Callable[[], dict[str, Any]]
    added: Callable[..., float]
    label: str
    inputs: Callable[..., np.ndarray] = normal

    @property
    def name(self):
        return f"{self.cls.__name__}-{self.label}"

    def make(self, **changes):
        return self.cls(**{**self.arguments(), **changes})

    def draw(self, shape, seed=0, dtype="float32"):
        return self.inputs(np.random.default_rng(seed), shape).astype(dtype)


def _activity_penalty(case):
    return LayerCase(
        kp.layers.ActivityPenalty, lambda: {"penalty": case.make()}, case.added, case.name, case.inputs
    )


LAYERS = [
    *(_activity_penalty(case) for case in PENALTIES if case.name in ("L1L2", "DeCov", "KLSparsity")),
    LayerCase(
        kp.layers.ActivityPenalty,
        lambda: {"penalty": [kp.regularizers.L1(0.1), kp.regularizers.DeCov(0.2)]},
        lambda x, mask=None: 0.1 * references.l1(x, mask) + 0.2 * references.decov(x, mask),
        "two penalties",
    ),
    LayerCase(
        kp.layers.ActivityPenalty,
        lambda: {"penalty": ["l2", kp.regularizers.L1(0.1)]},
        lambda x, mask=None: 0.01 * _keras_l2(x, mask) + 0.1 * references.l1(x, mask),
        "one of Keras and one of ours",
    ),
]


def _keras_l2(x, mask=None):
    """Keras 3.15's rule: the sum over everything that is kept, divided by the whole batch."""
    kept = 1 if mask is None else mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
    return float((np.asarray(x, "float64") ** 2 * kept).sum() / len(x))


# Layers that pass nothing on: models of the package are made of them, and they have tests of their own.
OTHER_LAYERS = {
    *(kp.layers.CosineDistance, kp.layers.EuclideanDistance),
    *(kp.layers.GradientReversal, kp.layers.UniversalPerturbation),
}
