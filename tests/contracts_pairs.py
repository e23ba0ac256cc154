"""What is under contract and compares several tensors: the cases of `tests/regularizers/test_pairs.py`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

import keras_penalties as kp
from tests.contracts import label
from tests.support import references_pairs as pairs
from tests.support import references_teachers as teachers
from tests.support.helpers import compiled, gradient

_regularizers = kp.regularizers


@dataclass(frozen=True)
class PairCase:
    """A penalty that compares several tensors, two unless `count` says otherwise.

    Args:
        cls: the class.
        formula: `(xs, masks, **options) -> float`, NumPy loops in float64.
        options: the arguments of `cls` apart from its strength.
        count: how many tensors it compares.
        detached: the tensors into which no gradient goes.
        paired: whether row `n` of one belongs to row `n` of the others.
        large: whether it can be measured at activations of 300.
        of_a_batch: whether a batch that is given twice counts once.
        directional: whether it compares directions, of which a row of zeros has none.
        positions: how many position axes there must be at least.
        same_features: whether the tensors must have as many features each.
    """

    cls: type
    formula: Callable[..., float]
    options: dict[str, Any] = field(default_factory=dict)
    count: int = 2
    detached: tuple = ()
    paired: bool = True
    large: bool = True
    of_a_batch: bool = True
    directional: bool = False
    positions: int = 0
    same_features: bool = True

    @property
    def name(self):
        return label(self.cls, self.options)

    @property
    def reached(self):
        """The tensors into which the gradient goes."""
        return [i for i in range(self.count) if i not in self.detached]

    def make(self, **changes):
        return self.cls(**{"strength": 0.1, **self.options, **changes})

    def fit(self, shape):
        """`shape` with as many position axes more as the penalty needs."""
        missing = self.positions - max(len(shape) - 2, 0)
        return (*shape[:1], *(2,) * missing, *(shape[1:] or (1,))) if missing > 0 else shape

    def draw(self, shape, seed=0, dtype="float32"):
        random, shape = np.random.default_rng(seed), self.fit(shape)
        return [random.normal(size=shape).astype(dtype) for _ in range(self.count)]

    @cached_property
    def measures(self):
        """For each tensor, the measure of it, a list of the others, and masks, as in a training step."""

        def of(i):
            def measure(x, others, masks=None):
                return penalty.measure([*others[:i], x, *others[i:]], masks)

            return compiled(measure)

        penalty = self.make()
        return [of(i) for i in range(self.count)]

    def measured(self, xs, masks=None):
        return float(self.measures[0](xs[0], xs[1:], masks))

    def slope(self, i, xs, masks=None, scale=1.0):
        """The gradient for tensor `i`."""
        others = [x for k, x in enumerate(xs) if k != i]
        return gradient(self.measures[i], xs[i], others, masks, scale=scale)

    def reference(self, xs, masks=None):
        masks = [None] * self.count if masks is None else masks
        return self.formula([np.asarray(x, "float64") for x in xs], masks, **self.options)


SEVERAL_TENSORS = [
    PairCase(_regularizers.Hint, pairs.hint, detached=(1,)),
    PairCase(_regularizers.Hint, pairs.hint, {"per": "element"}, detached=(1,)),
    PairCase(_regularizers.GaussianKL, pairs.gaussian_kl, large=False),
    PairCase(_regularizers.GaussianKL, pairs.gaussian_kl, {"free_bits": 0.6}, large=False),
    PairCase(_regularizers.GaussianKL, pairs.gaussian_kl, {"capacity": 0.7}, large=False),
    PairCase(_regularizers.BarlowTwins, pairs.barlow_twins),
    PairCase(_regularizers.BarlowTwins, pairs.barlow_twins, {"off_diagonal": 0.1}),
    PairCase(_regularizers.VICReg, pairs.vicreg, of_a_batch=False),
    PairCase(
        _regularizers.VICReg,
        pairs.vicreg,
        {"invariance": 1.0, "variance": 2.0, "covariance": 3.0},
        of_a_batch=False,
    ),
    PairCase(_regularizers.CORAL, pairs.coral, paired=False, of_a_batch=False),
    PairCase(_regularizers.MMD, pairs.mmd_between, paired=False, of_a_batch=False),
    PairCase(
        _regularizers.MMD,
        pairs.mmd_between,
        {"kernel": "imq", "bandwidth": 2.0},
        paired=False,
        of_a_batch=False,
    ),
    PairCase(_regularizers.Match, pairs.match),
    *(
        PairCase(_regularizers.Match, pairs.match, options, detached=detached, directional=directional)
        for options, detached, directional in (
            ({"loss": "cosine_similarity", "detach": "second"}, (1,), True),
            ({"loss": "mean_absolute_error", "detach": "first"}, (0,), False),
            ({"loss": "kl_divergence", "detach": "second", "temperature": 2.0}, (1,), False),
            ({"loss": "categorical_crossentropy", "temperature": 0.5}, (), False),
        )
    ),
    *(
        PairCase(_regularizers.InfoNCE, pairs.info_nce, options, of_a_batch=False, directional=True)
        for options in (
            {"temperature": 0.5},
            {"negatives": "other_view"},
            {"negatives": "other_view", "symmetric": False},
            {"symmetric": False, "temperature": 0.5},
        )
    ),
    PairCase(
        _regularizers.AttentionTransfer,
        teachers.attention_transfer,
        detached=(1,),
        positions=1,
        same_features=False,
        directional=True,
    ),
    PairCase(
        _regularizers.AttentionTransfer,
        teachers.attention_transfer,
        {"distance": "mean_squared"},
        detached=(1,),
        positions=1,
        same_features=False,
        directional=True,
    ),
    *(
        PairCase(
            _regularizers.RelationalKD,
            teachers.relational,
            options,
            detached=(1,),
            of_a_batch=False,
            same_features=False,
        )
        for options in ({}, {"angle": 0.0})
    ),
    PairCase(_regularizers.CKA, teachers.cka, same_features=False),
    PairCase(_regularizers.CKA, teachers.cka, {"detach": "second"}, detached=(1,), same_features=False),
    PairCase(_regularizers.TripletMargin, pairs.triplet_margin, {"margin": 0.7}, count=3),
    PairCase(
        _regularizers.TripletMargin, pairs.triplet_margin, {"margin": 0.7, "distance": "squared"}, count=3
    ),
    PairCase(
        _regularizers.TripletMargin,
        pairs.triplet_margin,
        {"margin": 0.7, "distance": "cosine"},
        count=3,
        directional=True,
    ),
]
