"""What models of several passes ask of the model that they are given, and of the first batch."""

import os
from pathlib import Path

import keras
import numpy as np
from keras import ops, tree

from keras_penalties import _checks, _numerics
from keras_penalties._training.additions import Additions
from keras_penalties._training.logged_mean import LoggedMean
from keras_penalties._training.untracked import Untracked


def peek(x, y, rows=32):
    """The first rows of arrays, or None where the data is of another kind and would be used up."""
    arrays = [a for a in tree.flatten((x, y)) if a is not None]
    if y is None or not all(isinstance(a, np.ndarray) or keras.ops.is_tensor(a) for a in arrays):
        return None
    return tree.map_structure(lambda a: None if a is None else np.asarray(a[:rows]), (x, y))


class ModelOfModels(keras.Model):
    """A model that owns no weights but those of the models it is given, and the training of them.

    It shows each term of its loss by name, and looks at the first batch of arrays that `fit` gets:
    `check_batch(x, y)` refuses what a compiled step could not.
    """

    def __init__(self, name: str | None = None, **kwargs):
        super().__init__(**({"name": name} if name else {}), **kwargs)
        self._shown = Untracked(means={}, hidden=set(), additions=Additions(self.name))

    def build(self, input_shape=None):
        self.built = True

    def check_batch(self, x, y):
        """Raise if the first rows cannot be meant."""

    def save(self, filepath, overwrite=True, **kwargs):
        """Save as `keras.Model.save` does; a file that was there stays until the new one is whole."""
        keras.saving.serialize_keras_object(self)  # what cannot be saved is refused before a file is touched
        path = Path(filepath)
        if not (overwrite and path.suffix == ".keras" and path.is_file()):
            return super().save(filepath, overwrite=overwrite, **kwargs)
        beside = path.with_name(f"{path.stem}.{os.getpid()}.keras")
        try:
            super().save(beside, **kwargs)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)

    def fit(self, x=None, y=None, *args, **kwargs):
        seen = peek(x, y)
        if seen is not None and len(tree.flatten(seen[1])[0]):
            self.check_batch(*seen)
        return super().fit(x, y, *args, **kwargs)

    def _aggregate_additional_loss(self, loss):
        # In mixed precision Keras' own regularizers give half, which TensorFlow adds to no float32.
        return super()._aggregate_additional_loss(_numerics.as_loss(loss))

    def show(self, terms: dict, x):
        """Take what was added to the loss into the logs, weighted by batch size as Keras weights `loss`: that
        of the first tensor in `x`, which may be nested and hold None."""
        batch = ops.shape(next(t for t in tree.flatten(x) if t is not None))[0]
        additions = self._shown.additions
        additions.end_pass()
        additions.add(None, terms, batch)
        additions.count()
        self._shown.hidden -= set(terms)

    def show_means_of(self, keys, averaged=(), sometimes=("regularization_loss",)):
        """Make new means for the logs under `keys`, and under `sometimes`, which are hidden until there are
        any. What `averaged` names does not add up in a step: strengths."""
        for key in keys:
            _checks.log_name(key, "hidden", type(self).__name__)
        additions = self._shown.additions = Additions(self.name, averaged)
        self._shown.means = {
            key: LoggedMean(key, additions=additions, key=key, direction=_direction(key, averaged))
            for key in (*keys, *sometimes)
        }
        self._shown.hidden = set(sometimes)

    @property
    def log_keys(self) -> tuple:
        """The keys in the logs that are this model's own."""
        return tuple(self._shown.means)

    def unnamed(self, losses):
        """The sum of `losses`, which is shown as `regularization_loss`."""
        return {"regularization_loss": sum(ops.cast(ops.sum(v), "float32") for v in losses)} if losses else {}

    @property
    def metrics(self):
        return [*super().metrics, *self._shown.means.values()]

    @property
    def metrics_names(self):
        return [metric.name for metric in self.metrics if metric.name not in self._shown.hidden]

    def get_metrics_result(self):
        results = super().get_metrics_result()
        return {key: value for key, value in results.items() if key not in self._shown.hidden}


def _direction(key, averaged):
    """Which value of a key is best, for callbacks that stop there."""
    return None if key in averaged else "up" if key.endswith("_accuracy") else "down"


def input_of(model, argument, owner):
    """The shape and dtype of the one input of `model`; refuse a model with several, or none known."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`{argument}` of {owner} must be a Keras model. "
            f"Received: {model!r} (of type {type(model).__name__})."
        )
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs or len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"`{argument}` of {owner} must be a built functional or Sequential model of one input and one "
            f"output. '{model.name}' ({type(model).__name__}) has {len(inputs) if inputs else 'unknown'} "
            "input(s). Begin a Sequential model with `keras.Input(shape)`."
        )
    return inputs[0].shape, inputs[0].dtype
