"""The terms of `HiddenOutputs.compile`: what each adds to the loss, and what it shows in the logs."""

import re
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_penalties import _numerics
from keras_penalties._keras.losses import weights_for
from keras_penalties._keras.masks import with_masks
from keras_penalties._training.log_names import WEIGHT
from keras_penalties._training.state import Learned
from keras_penalties._training.strengths import Strengths
from keras_penalties._training.terms import Term
from keras_penalties.losses import StatefulLoss
from keras_penalties.models._loss_arguments import compares_with_labels
from keras_penalties.models._step_data import StepData, naming, one_label
from keras_penalties.schedules import _strength


def log_name(names) -> str:
    """The name of hidden tensors in the logs: Keras allows no slash in a name."""
    return re.sub("[/:@]", "_", "_".join(names))


@dataclass
class HiddenTerm:
    """The value of one key of `hidden_losses`.

    Attributes:
        names: its hidden tensors.
        given: the user's argument, which is saved.
        name: the name in the logs, or an empty string to use the names of the hidden tensors.
        penalties: the penalties, for a term without labels.
        loss: the loss, for a term with labels.
    """

    names: tuple[str, ...]
    given: object
    name: str = ""
    penalties: list = field(default_factory=list)
    loss: Any = None

    @property
    def argument(self) -> str:
        """Its name in messages."""
        return f"hidden_losses[{self.config_key!r}]"

    @property
    def config_key(self):
        """Its key in the arguments of `compile`."""
        first, *others = self.names
        return self.names if others else first

    @property
    def key(self) -> str:
        """Its key in the logs."""
        return f"{self.name or log_name(self.names)}_loss"

    @property
    def keys(self) -> list:
        """All its keys in the logs."""
        return [self.key, *self.averaged]

    @property
    def averaged(self) -> list:
        """Those of `keys` whose values are not summed in a step."""
        return []

    @property
    def states(self) -> list:
        """The layers that own the state that changes in training."""
        return []

    def pick(self, hidden: dict):
        tensors = [hidden[name] for name in self.names]
        return tensors if len(tensors) > 1 else tensors[0]

    def make_state(self, specs: dict, before: Any = None) -> None:
        """Create `states`.

        Args:
            specs: by name, a symbolic tensor, or None if the shape is unknown.
            before: the same term from an earlier `compile`, whose state is kept; or None.
        """

    def continues(self, before: "HiddenTerm") -> bool:
        """Whether this equals `before`, so that its state is kept."""
        return type(self) is type(before) and _is_same(self.given, before.given)

    def shapes(self, specs: dict) -> list:
        for name in self.names:
            if specs[name] is None:
                raise ValueError(
                    f"`{self.argument}` learns weights, but the shape of '{name}' is not known yet. Pass the "
                    "input shape to `build` of the model, or begin the model with `keras.Input`."
                )
        return [tuple(specs[name].shape) for name in self.names]


@dataclass
class PenaltyTerm(HiddenTerm):
    """Penalties on hidden tensors."""

    state: Any = None

    @property
    def keys(self) -> list:
        return [self.key, *(f"{self.key}{end}" for end in self.state.keys)]

    @property
    def averaged(self) -> list:
        return [f"{self.key}{end}" for end in self.state.averaged]

    @property
    def states(self) -> list:
        return [self.state]

    def make_state(self, specs: dict, before: Any = None) -> None:
        self.state, kept = Term(self.penalties, self.key), None if before is None else before.state
        if self.state.waits_for_shapes:
            self.state.learn(self.shapes(specs), kept)
        if kept is not None:
            self.state.strengths.keep_state_of(kept.strengths)

    def added(self, hidden: dict, masks: dict, training) -> dict:
        """What the penalties add, and the other logged values, by key."""
        values = self.state.added(self.pick(hidden), self.pick(masks), training)
        return {f"{self.key}{end}": value for end, value in values.items()}


@dataclass
class LossTerm(HiddenTerm):
    """A loss between labels and hidden tensors.

    Attributes:
        weight: the factor of the loss: a number, a schedule or a target.
        target: the name of the labels and weights to use, or None.
    """

    weight: Any = 1.0
    target: str | None = None
    learned: Any = None
    weights: Any = None

    @property
    def strength(self):
        """`weight`, by the name that `Strengths` reads."""
        return self.weight

    @property
    def averaged(self) -> list:
        if self.weights is None:
            return []
        return [
            f"{self.key}{end}" for end in (*self.weights.keys.values(), *self.weights.measure_keys.values())
        ]

    @property
    def states(self) -> list:
        return [state for state in (self.learned, self.weights) if state is not None]

    def make_state(self, specs: dict, before: Any = None) -> None:
        if isinstance(self.loss, StatefulLoss):
            made = Learned(self.loss.state(self.shapes(specs)), self.key)
            self.learned = before.learned if before is not None and made.fits(before.learned) else made
        if _strength.is_moving(self.weight):
            self.weights = Strengths([self], f"{self.key}{WEIGHT}", ending=WEIGHT)
            if before is not None:
                self.weights.keep_state_of(before.weights)

    def continues(self, before: HiddenTerm) -> bool:
        return isinstance(before, LossTerm) and (
            super().continues(before) and _is_same(self.weight, before.weight)
        )

    def labels(self, data: StepData) -> tuple[Any, Any]:
        """The labels that the loss gets in a step, and their weights. `data` has all data of the step."""
        if self.target is not None or compares_with_labels(self.loss):
            return data.for_hidden(self.config_key, self.target, self.argument)
        return one_label(data.y), data.common_weight(self.argument)

    def added(self, data: StepData, hidden: dict, masks: dict, training) -> tuple[Any, dict]:
        """What the loss adds, and the other logged values, by key."""
        y, weight = self.labels(data)
        if self.weights is not None:
            self.weights.begin(training)
        value = self.measured(y, hidden, masks, weight, training)
        if self.weights is None:
            return self.weight * value, {}
        shown = {}
        if training:
            self.weights.adapt(0, value)
        factor = self.weights.now(0)
        for end in self.weights.keys.values():
            shown[f"{self.key}{end}"] = factor
        for end in self.weights.measure_keys.values():
            shown[f"{self.key}{end}"] = _numerics.as_loss(value)
        return keras.ops.cast(factor, value.dtype) * value, shown

    def measured(self, y, hidden: dict, masks: dict, sample_weight, training):
        """The loss without its weight."""
        x = self.pick(with_masks(hidden, masks))
        values = self.learned.values if self.learned is not None else {}
        with naming(self.argument, labels=y, hidden=x, sample_weight=sample_weight):
            own = weights_for(sample_weight, x if len(self.names) == 1 else None)
            value = self.loss(y, x, sample_weight=own, **values)
            if len(value.shape):
                raise ValueError(f"It returns values of shape {tuple(value.shape)} instead of one number.")
            if training and self.learned is not None:
                self.learned.assign(self.loss.next_state(y, x, sample_weight, **values))
        return value


def _is_same(a, b) -> bool:
    """Whether two arguments of `compile` have the same effect."""
    if a is b:
        return True
    try:
        return keras.saving.serialize_keras_object(a) == keras.saving.serialize_keras_object(b)
    except Exception:  # a function or class that cannot be saved
        return False
