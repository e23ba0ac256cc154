"""The metrics that `compile` creates, as Keras' trainer stores them (Keras:
`src/trainers/compile_utils.py`)."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from keras import ops, tree

from keras_penalties._keras import private
from keras_penalties._keras.losses import weights_for
from keras_penalties._keras.masks import get_keras_mask, set_keras_mask

CompileMetrics: Any = private.find("keras.src.trainers.compile_utils.CompileMetrics")


class MetricsWithHidden(CompileMetrics):
    """The metrics of outputs, which Keras has created, and those of hidden tensors: one object that the
    trainer builds, resets and reads.

    Args:
        of_outputs: the object that Keras has created from `metrics` and `weighted_metrics`, or None.
        of_hidden: by the name in the logs, the metrics of a hidden tensor: without and with weights.
    """

    def __init__(self, of_outputs, of_hidden: Mapping[str, Sequence]):
        super().__init__(None, None)
        self.of_outputs = CompileMetrics(None, None) if of_outputs is None else of_outputs
        self.of_hidden = {name: CompileMetrics(*metrics) for name, metrics in of_hidden.items()}

    @property
    def _groups(self):
        return [self.of_outputs, *self.of_hidden.values()]

    @property
    def built(self) -> bool:
        return all(group.built for group in self._groups)

    @built.setter
    def built(self, value):
        """Ignored: Keras sets it when it creates the object."""

    @property
    def metrics(self) -> list:
        """The metrics, and the directions of those of hidden tensors under their names in the logs, where
        `EarlyStopping(mode="auto")` looks for them (Keras: `src/callbacks/monitor_callback.py`)."""
        directions = [
            SimpleNamespace(name=f"{name}_{metric.name}", _direction=private.of(metric, "_direction"))
            for name, group in self.of_hidden.items()
            for metric in group.metrics
            if hasattr(metric, "_direction")
        ]
        return [*(metric for group in self._groups for metric in group.metrics), *directions]

    @property
    def variables(self) -> list:
        return [variable for group in self._groups for variable in group.variables]

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.of_outputs.update_state(y_true, y_pred, sample_weight)

    def update_hidden(self, name: str, y, x, sample_weight=None):
        """Count a hidden tensor."""
        mask, x = get_keras_mask(x), ops.stop_gradient(x)
        if mask is not None:
            set_keras_mask(x, mask)
        self.of_hidden[name].update_state(y, x, weights_for(sample_weight, x))

    def build_hidden(self, name: str, y, x, sample_weight=None):
        """Create the variables of the metrics of a hidden tensor, without counting anything."""
        if not self.of_hidden[name].built:
            self.of_hidden[name].update_state(*tree.map_structure(_stand_in, (y, x, sample_weight)))

    def reset_state(self):
        for group in self._groups:
            group.reset_state()

    def result(self) -> dict:
        results = self.of_outputs.result() if self.of_outputs.built else {}
        for name, group in self.of_hidden.items():
            for key, value in (group.result() if group.built else {}).items():
                if f"{name}_{key}" in results:
                    raise ValueError(f"Two metrics have the key '{name}_{key}' in the logs. Rename one.")
                results[f"{name}_{key}"] = value
        return results

    # Read by `trainers.shown_names`.
    @property
    def _flat_metrics(self):
        return private.of(self.of_outputs, "_flat_metrics") if self.of_outputs.built else []

    @property
    def _flat_weighted_metrics(self):
        return private.of(self.of_outputs, "_flat_weighted_metrics") if self.of_outputs.built else []


def add_hidden_metrics(model, of_hidden: Mapping[str, Sequence]):
    """Add metrics of hidden tensors to the compiled `model`."""
    if of_hidden:
        metrics = MetricsWithHidden(private.of(model, "_compile_metrics"), of_hidden)
        with private.find("keras.src.utils.tracking.DotNotTrackScope")():  # as `compile` sets it
            private.put(model, "_compile_metrics", metrics)


def hidden_metrics(model) -> MetricsWithHidden | None:
    """The metrics that `add_hidden_metrics` has added to `model`, or None."""
    metrics = private.of(model, "_compile_metrics")
    return metrics if isinstance(metrics, MetricsWithHidden) else None


def _stand_in(x):
    """Zeros in the shape of `x`, a tensor of another symbolic pass; unknown sizes become 2."""
    if x is None:
        return None
    return ops.zeros([n if isinstance(n, int) else 2 for n in x.shape], dtype=ops.dtype(x))
