"""The hidden losses of `HiddenOutputs.compile`, as terms that are added to the loss and logged by name."""

import re
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_penalties import _checks
from keras_penalties._keras.losses import weights_for
from keras_penalties._keras.masks import with_masks
from keras_penalties._training.state import Learned
from keras_penalties._training.terms import Term, as_penalties
from keras_penalties._training.terms import check as check_penalties
from keras_penalties._value_checks import ChecksFirstBatch
from keras_penalties.losses import StatefulLoss
from keras_penalties.models._labels import labels_for, naming, one_label, one_weight
from keras_penalties.models._loss_arguments import as_loss
from keras_penalties.regularizers import Penalty

OWNER = "HiddenOutputs.compile"


@dataclass
class HiddenTerm:
    """A penalty on hidden tensors, or a loss between the labels and them.

    Attributes:
        names: the hidden tensors it takes.
        given: the user's argument, which is saved.
        penalties: the penalties, for a term without labels.
        loss: the loss, for a term with labels.
        weight: the factor of a loss; a penalty has its strength.
        state: the state of the penalties or the loss: created once, in `compile`.
    """

    names: tuple[str, ...]
    given: object
    penalties: list = field(default_factory=list)
    loss: Any = None
    weight: float = 1.0
    state: Any = None

    @property
    def argument(self) -> str:
        """How messages name it."""
        return f"hidden_losses[{self.names[0] if len(self.names) == 1 else self.names!r}]"

    @property
    def key(self) -> str:
        return re.sub("[/:@]", "_", "_".join(self.names)) + "_loss"  # Keras lets no name hold a slash

    def pick(self, hidden: dict):
        tensors = [hidden[name] for name in self.names]
        return tensors if len(tensors) > 1 else tensors[0]

    def make_state(self, specs: dict):
        """The layer that owns what changes in training, or None if nothing does."""
        if self.penalties:
            self.state = Term(self.penalties, self.key)
            if self.state.waits_for_shapes:
                self.state.learn(self._shapes(specs))
        elif isinstance(self.loss, StatefulLoss):
            self.state = Learned(self.loss.state(self._shapes(specs)), self.key)
        return self.state

    def _shapes(self, specs: dict) -> list:
        for name in self.names:
            if specs[name] is None:
                raise ValueError(
                    f"`{self.argument}` learns weights, and the shape of '{name}' is not known yet. Give the "
                    "model's `build` the shape of its input, or begin the model with `keras.Input`."
                )
        return [tuple(specs[name].shape) for name in self.names]

    @property
    def keys(self) -> list:
        """The keys in the logs."""
        return [self.key, *(f"{self.key}{end}" for end in (self.state.keys if self.penalties else ()))]

    @property
    def averaged(self) -> list:
        """Those of `keys` whose values are not summed in a step."""
        return [f"{self.key}{end}" for end in (self.state.averaged if self.penalties else ())]

    def penalty(self, hidden: dict, masks: dict, training) -> dict:
        """What the penalties add, and the other logged values, by key."""
        values = self.state.added(self.pick(hidden), self.pick(masks), training)
        return {f"{self.key}{end}": value for end, value in values.items()}

    def labelled(self, y, hidden: dict, masks: dict, sample_weight, training):
        """What the loss adds."""
        x, y = self.pick(with_masks(hidden, masks)), labels_for(self.loss, y, self.argument)
        weight = one_weight(sample_weight, self.argument)
        values = self.state.values if self.state is not None else {}
        with naming(self.argument, labels=y, hidden=x, sample_weight=weight):
            own = weights_for(weight, x if len(self.names) == 1 else None)
            value = self.weight * self.loss(y, x, sample_weight=own, **values)
            if len(value.shape):
                raise ValueError(f"It gives values of shape {tuple(value.shape)} in place of one number.")
            if training and self.state is not None:
                self.state.assign(self.loss.next_state(y, x, weight, **values))
        return value


def make_terms(hidden_losses, hidden_loss_weights, specs: dict) -> list:
    """Check the arguments of `compile` against the hidden tensors; `specs` maps names to symbolic tensors."""
    weights = {_names(key): value for key, value in (hidden_loss_weights or {}).items()}
    if not isinstance(hidden_losses or {}, dict):
        raise TypeError(
            f"`hidden_losses` must be a dict of hidden name to penalty or loss. Received: {hidden_losses!r}."
        )
    terms = [_make_term(key, value, weights, specs) for key, value in (hidden_losses or {}).items()]
    unknown = set(weights) - {term.names for term in terms}
    if unknown:
        raise ValueError(
            f"`hidden_loss_weights` has the keys {sorted('_'.join(names) for names in unknown)}, which "
            "`hidden_losses` does not have. Use the same keys."
        )
    return terms


def refuse_values(loss, terms: list, y, run):
    """Raise if a loss or penalty does not accept the values of the first rows; `run()` gives the outputs, the
    hidden tensors and their masks."""
    losses = [(loss, None), *((term.loss, term) for term in terms)]
    losses = [(loss, term) for loss, term in losses if isinstance(loss, ChecksFirstBatch)]
    penalties = [(penalty, term) for term in terms for penalty in term.penalties]
    penalties = [(p, term) for p, term in penalties if isinstance(p, Penalty) and p.refuses_values]
    if not losses and not penalties:
        return
    output, hidden, masks = run()
    for loss, term in losses:
        prediction = output if term is None else term.pick(hidden)
        labels = one_label(y) if term is None else labels_for(loss, y, term.argument)
        loss.refuse(labels, keras.ops.convert_to_numpy(prediction))
    for penalty, term in penalties:
        penalty.measured_parts(*penalty.validate(term.pick(hidden), term.pick(masks)))


def refuse_hidden_names(arguments: dict, specs: dict, outputs):
    """Reject hidden tensors as keys of Keras' own arguments, which are for outputs; with one output, Keras
    ignores keys."""
    for argument, value in arguments.items():
        names = (
            [key for key in value if key in specs and key not in outputs] if isinstance(value, dict) else []
        )
        if not names:
            continue
        name = names[0]
        instead = {
            "loss": f"Write hidden_losses={{{name!r}: {value[name]!r}}}.",
            "loss_weights": f"Write hidden_loss_weights={{{name!r}: {value[name]!r}}}.",
        }
        measure = (
            f"Make {name!r} an output of a model of the same layers: `keras.Model(model.inputs, "
            f"[*model.outputs, model.get_layer({name!r}).output])`."
        )
        raise ValueError(
            f"`{argument}` has the key {name!r}, which is a hidden tensor. It is for outputs"
            f"{': ' * bool(outputs)}{', '.join(map(repr, outputs))}. {instead.get(argument, measure)}"
        )


def _names(key):
    return key if isinstance(key, tuple) else (key,)


def _make_term(key, value, weights, specs):
    names = _names(key)
    for name in names:
        if name not in specs:
            raise ValueError(
                f"`hidden_losses` has the key {key!r}, and '{name}' is not a hidden tensor. The hidden "
                f"tensors are {', '.join(map(repr, specs))}: add it to `hidden=` of `HiddenOutputs`."
            )
    first = value[0] if isinstance(value, (list, tuple)) and value else value
    if isinstance(first, type):
        raise TypeError(
            f"`hidden_losses[{key!r}]` must be an object, not a class. Received: {first.__name__}. "
            f"Call it: {first.__name__}(...)."
        )
    if isinstance(first, keras.regularizers.Regularizer):
        if names in weights:
            raise ValueError(
                f"`hidden_loss_weights[{key!r}]` is the weight of a penalty, which has a strength of its "
                "own. Set the strength, and omit the weight."
            )
        penalties = as_penalties(value, f"hidden_losses[{key!r}]", OWNER)
        term = HiddenTerm(names, value, penalties=penalties)
        if all(specs[name] is not None for name in names):
            check_penalties(penalties, term.pick(specs), f"hidden_losses[{key!r}]")
        return term
    loss = as_loss(value, f"hidden_losses[{key!r}]", names)
    return HiddenTerm(names, value, loss=loss, weight=_weight(weights.get(names, 1.0), key))


def _weight(value, key):
    argument = f"hidden_loss_weights[{key!r}]"
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        raise TypeError(
            f"`{argument}` is a {type(value).__name__}, and the weight of a loss with labels must be a "
            f"number. Give one, hidden_loss_weights={{{key!r}: 0.5}}, and compile again for another one. "
            "The strength of a penalty may be a schedule."
        )
    return _checks.number(value, argument, OWNER)
