"""What `HiddenOutputs.compile` was given, as terms that are added to the loss and shown by name."""

from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops, tree

from keras_penalties import _checks, _returned, _serialization
from keras_penalties._training.state import Learned
from keras_penalties._training.terms import Term, as_penalties
from keras_penalties._training.terms import check as check_penalties
from keras_penalties.losses import StatefulLoss

OWNER = "HiddenOutputs.compile"


@dataclass
class HiddenTerm:
    """A penalty on hidden tensors, or a loss between the labels and them.

    Attributes:
        names: the hidden tensors it takes.
        given: what the user gave, which is what is saved.
        penalties: the penalties, for a term without labels.
        loss: the loss, for a term with labels.
        weight: what multiplies a loss; a penalty has its strength.
        state: what the penalties, or the loss, own: made once, in `compile`.
    """

    names: tuple
    given: object
    penalties: list = field(default_factory=list)
    loss: Any = None
    weight: float = 1.0
    state: Any = None

    @property
    def key(self) -> str:
        return "_".join(self.names).replace("/", "_") + "_loss"  # Keras lets no name hold a slash

    def pick(self, hidden: dict):
        tensors = [hidden[name] for name in self.names]
        return tensors if len(tensors) > 1 else tensors[0]

    def make_state(self, specs: dict):
        """The layer that owns what changes while training, or None if nothing does."""
        shapes = [tuple(specs[name].shape) for name in self.names]
        if self.penalties:
            self.state = Term(self.penalties, self.key)
            self.state.learn(shapes)
        elif isinstance(self.loss, StatefulLoss):
            self.state = Learned(self.loss.state(shapes), self.key)
        return self.state

    @property
    def keys(self) -> list:
        """The keys in the logs."""
        return [self.key, *(f"{self.key}{end}" for end in (self.state.keys if self.penalties else ()))]

    def penalty(self, hidden: dict, masks: dict, training) -> dict:
        """What the penalties add, and what is shown beside it, by key."""
        values = self.state.added(self.pick(hidden), self.pick(masks), training)
        return {f"{self.key}{end}": value for end, value in values.items()}

    def labelled(self, y, hidden: dict, sample_weight, training):
        """What the loss adds."""
        x, y, weight = self.pick(hidden), one_label(y), one_weight(sample_weight)
        if self.state is None:
            return self.weight * self.loss(y, x, sample_weight=weight)
        values = self.state.values
        value = self.weight * self.loss(y, x, sample_weight=weight, **values)
        if training:
            self.state.assign(self.loss.next_state(y, x, weight, **values))
        return value


class FunctionLoss(keras.losses.Loss):
    """A function of `(y_true, y_pred)`, reduced and weighted as Keras does it."""

    def __init__(self, function):
        super().__init__(name=function.__name__)
        self.function = function

    def call(self, y_true, y_pred):
        return returned_by(self.function, self.function(y_true, y_pred))


def returned_by(function, values):
    """What a user's loss function returned, as floats."""
    name = getattr(function, "__name__", type(function).__name__)
    return _returned.floats(values, f"The function `{name}`", "a scalar or one value for each example")


def make_terms(hidden_losses, hidden_loss_weights, specs: dict) -> list:
    """Check what was compiled against the hidden tensors there are; `specs` maps name to symbolic."""
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
            "`hidden_losses` has not. Use the same keys."
        )
    return terms


def _names(key):
    return key if isinstance(key, tuple) else (key,)


def _make_term(key, value, weights, specs):
    names = _names(key)
    for name in names:
        if name not in specs:
            raise ValueError(
                f"`hidden_losses` has the key {key!r}, and '{name}' is not exposed. The hidden tensors "
                f"are {', '.join(map(repr, specs))}: add it to `hidden=` of `HiddenOutputs`."
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
                f"`hidden_loss_weights[{key!r}]` weighs a penalty, which carries its own strength. "
                "Set the strength, and leave the weight out."
            )
        penalties = as_penalties(value, f"hidden_losses[{key!r}]", OWNER)
        term = HiddenTerm(names, value, penalties=penalties)
        check_penalties(penalties, term.pick(specs), f"hidden_losses[{key!r}]")
        return term
    loss = as_loss(value, f"hidden_losses[{key!r}]")
    weight = _checks.number(weights.get(names, 1.0), f"hidden_loss_weights[{key!r}]", OWNER)
    return HiddenTerm(names, value, loss=loss, weight=weight)


def as_loss(value, argument):
    """A Keras loss, its name, or a function of `(y_true, hidden)`, as a `keras.losses.Loss`."""
    refuse_lambda(value, argument)
    try:
        loss = keras.losses.get(value)
    except (ValueError, TypeError):
        loss = None
    if isinstance(loss, keras.losses.Loss):
        return loss
    if not callable(loss):
        raise TypeError(
            f"`{argument}` must be a penalty, a list of penalties, a Keras loss or its name, or a "
            f"function of (y_true, hidden). Received: {value!r} (of type {type(value).__name__})."
        )
    return FunctionLoss(loss)


def refuse_lambda(value, argument):
    if getattr(value, "__name__", "") == "<lambda>":
        raise ValueError(
            f"`{argument}` is a lambda, which cannot be saved with the model. Define a function, and put "
            "`@keras.saving.register_keras_serializable(package='my_project')` above it."
        )


def serialize(value, argument):
    """`value` as JSON; an unregistered function is refused, since no file could bring it back."""
    if callable(value) and hasattr(value, "__name__"):
        builtin = getattr(value, "__module__", "").startswith("keras.")
        if not builtin and not _serialization.is_registered(value):
            raise ValueError(
                f"`{argument}` is the function `{value.__name__}`, which is not registered, so that no "
                "file that names it could be loaded. Put `@keras.saving.register_keras_serializable("
                "package='my_project')` above it."
            )
    return keras.saving.serialize_keras_object(value)


def one_label(y):
    """The labels of a model with one output as the tensor that they are; others as they came."""
    flat = tree.flatten(y)
    return flat[0] if len(flat) == 1 else y


def one_weight(sample_weight):
    flat = [w for w in tree.flatten(sample_weight) if w is not None]
    if len(flat) > 1:
        raise ValueError(
            "`sample_weight` must be one array where a loss of `hidden_losses` uses labels: with one for "
            f"each output it is not said which weighs the hidden layer. Received: {len(flat)} arrays."
        )
    return flat[0] if flat else None


def reduce(values, sample_weight):
    """A scalar as it is; one value an example as the mean over the batch, weighted by `sample_weight`."""
    if len(values.shape) == 0:
        return values
    if len(values.shape) > 1:
        values = ops.mean(values, axis=tuple(range(1, len(values.shape))))
    if sample_weight is not None:
        values = values * ops.reshape(ops.cast(sample_weight, values.dtype), (-1,))
    return ops.mean(values)
