"""What is under contract: one case for each way in which an exported class can be used.

The checks in `tests/regularizers/test_contract_*.py` run over these cases, and
`tests/test_under_contract.py` fails when an exported class has none. Those of pairs of tensors and of layers
are in `contracts_pairs.py` and `contracts_layers.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np

import keras_penalties as kp
from keras_penalties._keras.releases import KERAS_DIVIDES_BY_BATCH
from tests.support import own_penalty, references
from tests.support import references_catalogue as catalogue
from tests.support import references_collapse as collapse
from tests.support.helpers import compiled


def normal(rng, shape):
    """Activations on both sides of zero."""
    return rng.normal(size=shape)


def shares(rng, shape):
    """Activations between 0 and 1, as after a sigmoid."""
    return rng.uniform(0.05, 0.95, size=shape)


def distributions(rng, shape):
    """Rows that sum to one, as after a softmax."""
    x = rng.uniform(0.05, 0.95, size=shape)
    return x / x.sum(axis=-1, keepdims=True)


def label(cls, options):
    """The name of a test on `cls` made with `options`."""
    return "-".join([cls.__name__, *(f"{k}={v}" for k, v in options.items())])


@dataclass(frozen=True)
class PenaltyCase:
    """A penalty, with what it is called with and what its paper says of it.

    Args:
        cls: the class.
        reference: `(x, mask) -> float`, NumPy loops in float64.
        options: the arguments of `cls` apart from its strengths.
        strengths: the strengths, by the names of their arguments.
        inputs: `(rng, shape) -> array`, what the penalty is made for, with the features last.
        in_measure: whether the strengths are part of `measure`, as in an elastic net.
        of_a_batch: whether a batch that is given twice counts once.
        signed: whether the value may be negative, as the docstring says then.
        inside: the values that are accepted, lowest and highest.
        positions: how many position axes there must be: least and most.
    """

    cls: type
    reference: Callable[..., float]
    options: dict[str, Any] = field(default_factory=dict)
    strengths: dict[str, float] = field(default_factory=lambda: {"strength": 0.1})
    inputs: Callable[..., np.ndarray] = normal
    in_measure: bool = False
    of_a_batch: bool = True
    signed: bool = False
    inside: tuple = (-np.inf, np.inf)
    positions: tuple = (0, 3)

    @property
    def name(self):
        return label(self.cls, self.options)

    @property
    def axis(self):
        axis = self.options.get("axis", -1)
        return axis if issubclass(self.cls, kp.regularizers.BatchStatisticPenalty) else -1

    @property
    def shapes(self):
        """Shapes of rank 1 to 5, the features last; with few rows and with many."""
        shapes = [(6,), (5, 4), (2, 5), (1, 3), (4, 3, 2), (3, 2, 2, 3), (2, 2, 3, 2, 2)]
        shapes = shapes if self.axis == -1 else shapes[1:]
        return [s for s in shapes if self.takes(s if len(s) > 1 else (*s, 1))]

    def takes(self, shape):
        """Whether the penalty is made for a tensor of that shape, the features last."""
        least, most = self.positions
        return least <= len(shape) - 2 <= most and shape[-1] >= self.options.get("top_k", 1)

    def ways(self, ways):
        """Those of the ways to attach a penalty that it allows: what counts steps needs an owner."""
        return [way for way in ways if way != "argument" or not self.cls.counts_steps]

    def accepts(self, x):
        """Whether the values of `x` are valid input."""
        low, high = self.inside
        return self.takes(x.shape) and (not x.size or (x.min() >= low and x.max() <= high))

    def make(self, **changes):
        return self.cls(**{**self.options, **self.strengths, **changes})

    @cached_property
    def measure(self):
        """`measure` as in a training step; one function for all tests, so that it is compiled once."""
        return compiled(self.make().measure)

    def arrange(self, x):
        """`x`, whose features are last, as this penalty wants it."""
        return np.moveaxis(x, -1, self.axis) if self.axis != -1 else x

    def fit(self, shape):
        """`shape` with as many position axes more as the penalty needs."""
        missing = self.positions[0] - (len(shape) - 2)
        return (*shape[:-1], *(2,) * missing, shape[-1]) if missing > 0 and len(shape) > 1 else shape

    def draw(self, shape, seed=0, dtype="float32"):
        """Activations of that shape (the features last), already arranged."""
        return self.arrange(self.inputs(np.random.default_rng(seed), self.fit(shape))).astype(dtype)

    def expected(self, x, mask=None):
        """What `measure` must return."""
        return self.reference(np.asarray(x, "float64"), mask)

    def added(self, x, mask=None):
        """What must reach the loss."""
        strength = 1.0 if self.in_measure else self.strengths["strength"]
        return strength * self.expected(x, mask)


def _case(cls, reference, *, strengths=None, inputs=normal, about=None, **options):
    about = about or {}
    return PenaltyCase(
        cls,
        partial(reference, **options, **(strengths if about.get("in_measure") else {})),
        options,
        strengths or {"strength": 0.1},
        inputs,
        **about,
    )


_regularizers, _l1l2 = kp.regularizers, {"l1": 0.3, "l2": 0.2}

_unbiased = {"of_a_batch": False}
_estimate = {"of_a_batch": False, "signed": True}
_probabilities = {"inside": (0.0, 1.0)}
_with_positions = {"positions": (1, 3)}

PENALTIES = [
    _case(_regularizers.L1, references.l1),
    _case(_regularizers.L1, references.l1, per="element"),
    _case(_regularizers.L2, references.l2),
    _case(_regularizers.L2, references.l2, per="element"),
    _case(_regularizers.L1L2, references.l1l2, strengths=_l1l2, about={"in_measure": True}),
    _case(_regularizers.L1L2, references.l1l2, strengths=_l1l2, about={"in_measure": True}, per="element"),
    _case(_regularizers.DeCov, references.decov),
    _case(_regularizers.DeCov, references.decov, axis=1),
    _case(_regularizers.KLSparsity, references.kl_sparsity, inputs=shares, about=_probabilities),
    _case(
        _regularizers.KLSparsity,
        references.kl_sparsity,
        inputs=shares,
        about=_probabilities,
        target=0.3,
        axis=1,
    ),
    _case(_regularizers.TransformedL1, catalogue.transformed_l1),
    _case(_regularizers.TransformedL1, catalogue.transformed_l1, beta=0.1, per="element"),
    _case(_regularizers.LogSparsity, catalogue.log_sparsity),
    _case(_regularizers.LogSparsity, catalogue.log_sparsity, eps=0.1, per="element"),
    _case(_regularizers.Hoyer, catalogue.hoyer),
    _case(_regularizers.HoyerSquare, catalogue.hoyer_square),
    _case(_regularizers.GroupLasso, catalogue.group_lasso),
    _case(_regularizers.GroupLasso, catalogue.group_lasso, axis=[1, 2], about=_with_positions),
    _case(_regularizers.Excess, catalogue.excess, threshold=0.5),
    _case(_regularizers.Excess, catalogue.excess, threshold=0.0, per="element"),
    _case(_regularizers.GradientPenalty, catalogue.gradient_penalty),
    _case(_regularizers.GradientPenalty, catalogue.gradient_penalty, norm=0.0),
    _case(_regularizers.Covariance, catalogue.covariance, about=_unbiased),
    _case(_regularizers.Covariance, catalogue.covariance, axis=1, about=_unbiased),
    _case(_regularizers.Variance, catalogue.variance, about=_unbiased),
    _case(_regularizers.Variance, catalogue.variance, target=2.0, eps=0.01, axis=1, about=_unbiased),
    _case(_regularizers.TotalVariation, catalogue.total_variation, about=_with_positions),
    _case(_regularizers.TotalVariation, catalogue.total_variation, per="element", about=_with_positions),
    _case(_regularizers.TemporalSmoothness, catalogue.temporal_smoothness, about=_with_positions),
    _case(_regularizers.Entropy, catalogue.entropy, inputs=shares, about=_probabilities),
    _case(_regularizers.Entropy, catalogue.entropy, from_logits=True, axis=1),
    _case(_regularizers.Confidence, catalogue.confidence, inputs=distributions, about=_probabilities),
    _case(_regularizers.Confidence, catalogue.confidence, from_logits=True),
    _case(_regularizers.ZLoss, catalogue.z_loss),
    _case(_regularizers.ZLoss, catalogue.z_loss, axis=1),
    _case(_regularizers.LoadBalance, catalogue.load_balance),
    _case(_regularizers.LoadBalance, catalogue.load_balance, top_k=2),
    _case(
        _regularizers.LoadBalance,
        catalogue.load_balance,
        inputs=shares,
        from_logits=False,
        about=_probabilities,
    ),
    _case(_regularizers.MMD, catalogue.mmd, about=_estimate),
    _case(_regularizers.MMD, catalogue.mmd, bandwidth=2.0, axis=1, about=_estimate),
    _case(_regularizers.MMD, catalogue.mmd, kernel="imq", about=_estimate),
    _case(_regularizers.KoLeo, collapse.koleo, about=_estimate),
    _case(_regularizers.KoLeo, collapse.koleo, eps=0.01, axis=1, about=_estimate),
    _case(
        _regularizers.MarginalEntropy, collapse.marginal_entropy, inputs=distributions, about=_probabilities
    ),
    _case(_regularizers.MarginalEntropy, collapse.marginal_entropy, from_logits=True, axis=1),
    _case(_regularizers.SIGReg, collapse.sigreg, slices=4, about=_unbiased),
    _case(
        _regularizers.SIGReg, collapse.sigreg, slices=3, knots=5, t_max=2.0, seed=7, axis=1, about=_unbiased
    ),
    # The base classes are not penalties themselves: these subclasses represent them.
    _case(own_penalty.Power, references.power, per="element", exponent=2),
    _case(own_penalty.Imbalance, references.imbalance),
    _case(own_penalty.Imbalance, references.imbalance, axis=1),
    _case(own_penalty.Total, references.total, about={"of_a_batch": False}),
]

if keras.backend.backend() != "tensorflow" or not KERAS_DIVIDES_BY_BATCH:
    # Formulas depend on no backend and no release: elsewhere each class has one case.
    PENALTIES = list({case.cls: case for case in reversed(PENALTIES)}.values())[::-1]

BASES = {
    *(_regularizers.Penalty, _regularizers.PerExamplePenalty, _regularizers.BatchStatisticPenalty),
    kp.losses.StatefulLoss,
}


def not_under_contract(namespace, cases, exempt=frozenset()):
    """The exported classes of a namespace that have no case."""
    exported = {getattr(namespace, name) for name in namespace.__all__}
    return {c.__name__ for c in exported - {case.cls for case in cases} - set(exempt)}
