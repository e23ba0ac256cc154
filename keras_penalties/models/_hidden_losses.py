"""The arguments of `HiddenOutputs.compile` for hidden tensors: their checks, and the terms from them."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_penalties import _checks
from keras_penalties._training.terms import as_penalties
from keras_penalties._training.terms import check as check_penalties
from keras_penalties._value_checks import ChecksFirstBatch
from keras_penalties.models._hidden_terms import HiddenTerm, LossTerm, PenaltyTerm, log_name
from keras_penalties.models._loss_arguments import as_loss, serialize
from keras_penalties.models._step_data import StepData, one_label
from keras_penalties.regularizers import Penalty
from keras_penalties.schedules import _strength

OWNER = "HiddenOutputs.compile"
METRICS = ("hidden_metrics", "hidden_weighted_metrics")


class HiddenArguments:
    """The arguments of `compile` that have hidden tensors as keys: by argument, then by names.

    Args:
        specs: by name, the hidden tensors as symbolic tensors; None if the shape is unknown.
        **arguments: the arguments from the user.
    """

    def __init__(self, specs: dict, **arguments: Any):
        self._specs = specs
        self.given = {argument: _by_names(argument, value) for argument, value in arguments.items()}
        for argument in ("hidden_losses", *METRICS):
            for names in self.given[argument]:
                self._check_names(argument, names)
        known = {names for argument in ("hidden_losses", *METRICS) for names in self.given[argument]}
        for argument in ("hidden_loss_weights", "hidden_targets", "hidden_names"):
            allowed = set(self.given["hidden_losses"]) if argument == "hidden_loss_weights" else known
            unknown = [names for names in self.given[argument] if names not in allowed]
            if unknown:
                raise ValueError(
                    f"`{argument}` has the keys {sorted('_'.join(names) for names in unknown)}, which "
                    f"`hidden_losses`{'' if argument == 'hidden_loss_weights' else ' and `hidden_metrics`'} "
                    "does not have. Use the same keys."
                )
        for argument in ("hidden_targets", "hidden_names"):
            for names, value in self.given[argument].items():
                if not isinstance(value, str) or not value:
                    raise TypeError(
                        f"`{argument}[{_key(names)!r}]` must be a name, a str. "
                        f"Received: {value!r} (of type {type(value).__name__})."
                    )

    def _check_names(self, argument, names):
        for name in names:
            if name not in self._specs:
                raise ValueError(
                    f"`{argument}` has the key {_key(names)!r}, but '{name}' is not a hidden tensor. The "
                    f"hidden tensors are {', '.join(map(repr, self._specs))}: add it to `hidden=` of "
                    "`HiddenOutputs`."
                )
        if argument in METRICS and len(names) > 1:
            raise ValueError(
                f"`{argument}` has the key {names!r}, but a metric measures one tensor. Use one name."
            )

    @property
    def targets(self) -> dict:
        return self.given["hidden_targets"]

    def terms(self) -> list[HiddenTerm]:
        return [self._term(names, value) for names, value in self.given["hidden_losses"].items()]

    def metrics(self) -> dict[tuple, tuple[str, list, list]]:
        """By names of hidden tensors: the name in the logs, and the metrics without and with weights."""
        found = {}
        for names in dict.fromkeys(names for argument in METRICS for names in self.given[argument]):
            shown = self.given["hidden_names"].get(names) or log_name(names)
            found[names] = (shown, *(_as_list(self.given[argument].get(names)) for argument in METRICS))
        return found

    def labels_of(self, name: str, data: StepData) -> tuple[Any, Any]:
        """The labels of the metrics of a hidden tensor, and their weights."""
        return data.for_hidden(name, self.targets.get((name,)), f"hidden_metrics[{name!r}]")

    def config(self) -> dict:
        """The arguments as JSON, with the names as a list, since a key in JSON cannot be a tuple."""
        config = {}
        for argument, values in self.given.items():
            pairs = [
                [list(names), _serialized(value, f"{argument}[{_key(names)!r}]")]
                for names, value in values.items()
            ]
            if pairs or argument in ("hidden_losses", "hidden_loss_weights"):
                config[argument] = pairs
        return config

    @staticmethod
    def from_config(config: dict) -> dict:
        """The arguments of `compile`, from a config in which those for hidden tensors are as `config` returns
        them."""
        config = dict(config)
        for argument in [name for name in config if name.startswith("hidden_")]:
            config[argument] = {_key(tuple(names)): value for names, value in config[argument]}
        return config

    def _term(self, names, value):
        key, shown = _key(names), self.given["hidden_names"].get(names, "")
        argument, weights = f"hidden_losses[{key!r}]", self.given["hidden_loss_weights"]
        first = value[0] if isinstance(value, (list, tuple)) and value else value
        if isinstance(first, type):
            raise TypeError(
                f"`{argument}` must be an object, not a class. Received: {first.__name__}. "
                f"Call it: {first.__name__}(...)."
            )
        if isinstance(first, keras.regularizers.Regularizer):
            if names in weights:
                raise ValueError(
                    f"`hidden_loss_weights[{key!r}]` is the weight of a penalty, which has its own "
                    "strength. Set the strength, and omit the weight."
                )
            if names in self.targets and not any(names in self.given[of] for of in METRICS):
                raise ValueError(
                    f"`hidden_targets[{key!r}]` names labels for a penalty, which uses none. Omit it, or "
                    "pass a loss to `hidden_losses`."
                )
            penalties = as_penalties(value, argument, OWNER)
            term = PenaltyTerm(names, value, shown, penalties=penalties)
            if all(self._specs[name] is not None for name in names):
                check_penalties(penalties, term.pick(self._specs), argument)
            return term
        loss = as_loss(value, argument, names)
        weight = _weight(weights.get(names, 1.0), f"hidden_loss_weights[{key!r}]")
        return LossTerm(names, value, shown, loss=loss, weight=weight, target=self.targets.get(names))


def refuse_values(loss, terms: list, run):
    """Raise if a loss or penalty does not accept the values of the first rows; `run()` returns the step's
    data, the outputs, the hidden tensors and their masks."""
    losses = [(loss, None), *((term.loss, term) for term in terms)]
    losses = [(loss, term) for loss, term in losses if isinstance(loss, ChecksFirstBatch)]
    penalties = [(penalty, term) for term in terms for penalty in term.penalties]
    penalties = [(p, term) for p, term in penalties if isinstance(p, Penalty) and p.refuses_values]
    if not losses and not penalties:
        return
    data, output, hidden, masks = run()
    targets = [term.target for term in terms if isinstance(term, LossTerm) and term.target is not None]
    for loss, term in losses:
        prediction = output if term is None else term.pick(hidden)
        labels = one_label(data.of_outputs(targets).y) if term is None else term.labels(data)[0]
        loss.refuse(labels, keras.ops.convert_to_numpy(prediction))
    for penalty, term in penalties:
        penalty.measured_parts(*penalty.validate(term.pick(hidden), term.pick(masks)))


def refuse_hidden_names(arguments: dict, specs: dict, outputs):
    """Reject hidden tensors as keys of Keras' own arguments, which are for outputs; with one output, Keras
    ignores keys."""
    for argument, value in arguments.items():
        keys = value if isinstance(value, dict) else ()
        name = next((key for key in keys if key in specs and key not in outputs), None)
        if name is None:
            continue
        instead = {"loss": "hidden_losses", "loss_weights": "hidden_loss_weights"}
        raise ValueError(
            f"`{argument}` has the key {name!r}, which is a hidden tensor. It is for outputs"
            f"{': ' * bool(outputs)}{', '.join(map(repr, outputs))}. Write "
            f"{instead.get(argument, f'hidden_{argument}')}={{{name!r}: {value[name]!r}}}."
        )


def refuse_taken_keys(terms: list, outputs):
    """Reject a term whose key in the logs is already used; `outputs` names the outputs."""
    taken = {"main_loss", "joint_loss", "regularization_loss"}
    taken |= {f"{name}_loss" for name in outputs} if len(outputs) > 1 else set()
    for term in terms:
        if term.key in taken:
            raise ValueError(
                f"`hidden_losses` has the key {term.config_key!r}, which would be logged as "
                f"'{term.key}', a key that is already used. Give it another name: "
                f"hidden_names={{{term.config_key!r}: 'another'}}."
            )
        taken.add(term.key)


def _by_names(argument, value) -> dict[tuple, Any]:
    if not isinstance(value or {}, Mapping):
        raise TypeError(
            f"`{argument}` must be a dict with names of hidden tensors as keys. Received: {value!r} (of type "
            f"{type(value).__name__})."
        )
    return {key if isinstance(key, tuple) else (key,): item for key, item in (value or {}).items()}


def _key(names):
    return names if len(names) > 1 else names[0]


def _as_list(metrics) -> list:
    return list(metrics) if isinstance(metrics, (list, tuple)) else [] if metrics is None else [metrics]


def _serialized(value, argument):
    if isinstance(value, (list, tuple)):
        return [serialize(item, argument) for item in value]
    return serialize(value, argument)


def _weight(value, argument):
    if _strength.is_moving(value):
        return _strength.check(value, OWNER, argument)
    return _checks.number(value, argument, OWNER)
