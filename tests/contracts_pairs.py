"""What is under contract and compares two tensors: the cases of `tests/regularizers/test_pairs.py`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

import keras_penalties as kp
from tests.contracts import label
from tests.support import references_pairs as pairs
from tests.support.helpers import compiled

_regularizers = kp.regularizers


@dataclass(frozen=True)
class PairCase:
    """A penalty that compares two tensors.

    Args:
        cls: the class.
        formula: `(xs, masks, **options) -> float`, NumPy loops in float64.
        options: the arguments of `cls` beside its strength.
        paired: whether row `n` of one belongs to row `n` of the other.
        large: whether it can be measured at activations of 300.
        of_a_batch: whether a batch that is given twice counts once.
    """

    cls: type
    formula: Callable[..., float]
    options: dict[str, Any] = field(default_factory=dict)
    paired: bool = True
    large: bool = True
    of_a_batch: bool = True

    @property
    def name(self):
        return label(self.cls, self.options)

    def make(self, **changes):
        return self.cls(**{"strength": 0.1, **self.options, **changes})

    @cached_property
    def measures(self):
        """For each of the tensors, the measure of it, the other and masks, as in a training step."""
        penalty = self.make()
        return (
            compiled(lambda x, other, masks=None: penalty.measure([x, other], masks)),
            compiled(lambda x, other, masks=None: penalty.measure([other, x], masks)),
        )

    def reference(self, xs, masks=(None, None)):
        return self.formula([np.asarray(x, "float64") for x in xs], masks, **self.options)


TWO_TENSORS = [
    PairCase(_regularizers.Hint, pairs.hint),
    PairCase(_regularizers.Hint, pairs.hint, {"per": "element"}),
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
]
