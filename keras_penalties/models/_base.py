"""The base class of the models of this package."""

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops, tree

from keras_penalties import _checks, _numerics
from keras_penalties._keras import saving, steps
from keras_penalties._keras.graphs import ExportedAsGraph
from keras_penalties._keras.hooks import TrainedModel
from keras_penalties._keras.losses import serialize_loss, weights_for
from keras_penalties._keras.optimizers import for_any_backend
from keras_penalties._training.additions import Additions
from keras_penalties._training.logged_mean import LoggedMean
from keras_penalties._training.untracked import Untracked
from keras_penalties._types import Config, Tensor, Tensors
from keras_penalties.models._first_batch import FirstBatch, arguments_of
from keras_penalties.models._loss_arguments import refuse_unreduced

NO_LEGACY = (
    "{} cannot be saved as legacy HDF5, from which Keras cannot load its class. Save it as '.keras', or "
    "only its weights with `save_weights('model.weights.h5')`."
)


class ModelOfModels(ExportedAsGraph, TrainedModel):
    """A model that trains other models, and has no weights apart from theirs.

    It logs each term of its loss by name. Before a step is compiled for arrays, it checks their first rows:
    the loss must be computable from their shapes, and `check_batch(x, y)` must accept their values.
    """

    def __init__(self, name: str | None = None, **kwargs: Any):
        super().__init__(**({"name": name} if name else {}), **kwargs)
        self._shown = Untracked(means={}, hidden=set(), additions=Additions(self.name))
        self._first = FirstBatch()

    def build(self, input_shape: Any = None) -> None:
        self.built = True

    def note_weights(self, training: bool, y: Tensors, sample_weight: Tensors) -> None:
        """Called with the labels and weights of steps, before they run."""

    def check_batch(self, x: Tensors, y: Tensors) -> None:
        """Raise if the values of the first rows, as arrays, are not valid."""

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, *args: Any, **kwargs: Any) -> None:
        refuse_unreduced(loss, "loss")
        steps.forget_compiled(self)
        super().compile(optimizer, loss, *args, **kwargs)
        self._first, self._jit_compile_argument = FirstBatch(), kwargs.get("jit_compile", "auto")

    def get_compile_config(self) -> dict:
        if not self.compiled:
            return {}
        # Keras saves what "auto" means on this backend. On PyTorch, True needs a C++ compiler.
        config = {**super().get_compile_config(), "jit_compile": self._jit_compile_argument}
        return {**config, "loss": serialize_loss(self.loss)} if config.get("loss") is not None else config

    def compile_from_config(self, config: Config) -> None:
        config = keras.saving.deserialize_keras_object(for_any_backend(config))
        self.compile(**self.arguments_of_compile(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def arguments_of_compile(self, config: dict) -> dict:
        """The arguments of `compile`, from what `get_compile_config` saved."""
        return config

    def save(self, filepath: str | os.PathLike, overwrite: bool = True, **kwargs: Any) -> None:
        """Save as `keras.Model.save` does; an existing file is kept until the new one is complete."""
        path = Path(filepath)
        if path.suffix in (".h5", ".hdf5"):
            raise ValueError(NO_LEGACY.format(type(self).__name__))
        keras.saving.serialize_keras_object(self)  # raises before a file is opened
        if not (overwrite and path.suffix == ".keras" and path.is_file()):
            return super().save(filepath, overwrite=overwrite, **kwargs)
        beside = path.with_name(f"{path.stem}.{os.getpid()}.keras")
        try:
            super().save(beside, **kwargs)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)

    def get_config(self) -> Config:
        if saving.is_legacy():
            raise ValueError(NO_LEGACY.format(type(self).__name__))
        return {"name": self.name}

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        given = arguments_of(super().fit, *args, **kwargs)
        self.note_weights(True, given.get("y"), given.get("sample_weight"))
        self._first.check(self, given.get("x"), given.get("y"), given.get("sample_weight"), again=True)
        validation = given.get("validation_data")
        if isinstance(validation, (list, tuple)):
            self._first.check(self, *keras.utils.unpack_x_y_sample_weight(validation))
        return super().fit(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        self._check_arrays(False, super().evaluate, *args, **kwargs)
        return super().evaluate(*args, **kwargs)

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        self._check_arrays(True, super().train_on_batch, *args, **kwargs)
        return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        self._check_arrays(False, super().test_on_batch, *args, **kwargs)
        return super().test_on_batch(*args, **kwargs)

    def _check_arrays(self, training, method, *args, **kwargs):
        given = arguments_of(method, *args, **kwargs)
        self.note_weights(training, given.get("y"), given.get("sample_weight"))
        self._first.check(self, given.get("x"), given.get("y"), given.get("sample_weight"))

    def compute_loss(
        self,
        x: Tensors = None,
        y: Tensors = None,
        y_pred: Tensors = None,
        sample_weight: Tensors = None,
        training: bool | None = True,
    ) -> Tensor:
        weights = weights_for(sample_weight, y_pred)
        return super().compute_loss(x, y, y_pred, weights, training=training)

    def compute_metrics(self, x: Tensors, y: Tensors, y_pred: Tensors, sample_weight: Tensors = None) -> dict:
        return super().compute_metrics(x, y, y_pred, weights_for(sample_weight, y_pred))

    def float_loss(self, loss: Any) -> Tensor:
        # In mixed precision Keras' own regularizers return float16, which TensorFlow cannot add to float32.
        return _numerics.as_loss(loss)

    def show(self, terms: dict, x: Tensors) -> None:
        """Log what was added to the loss, weighted by batch size as Keras weights `loss`: that of
        the first tensor in `x`, which may be nested and contain None."""
        batch = ops.shape(next(t for t in tree.flatten(x) if t is not None))[0]
        additions = self._shown.additions
        additions.end_pass()
        additions.add(None, terms, batch)
        additions.count()
        self._shown.hidden -= set(terms)

    def show_means_of(
        self,
        keys: Iterable[str],
        averaged: Iterable[str] = (),
        sometimes: Sequence[str] = ("regularization_loss",),
    ) -> None:
        """Create new means for the logs under `keys`, and under `sometimes`, which are hidden until they have
        a value. The keys in `averaged`, strengths, are not summed in a step."""
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
        """The keys that this model adds to the logs."""
        return tuple(self._shown.means)

    def unnamed(self, losses: list) -> dict:
        """The sum of `losses`, which is shown as `regularization_loss`."""
        return {"regularization_loss": sum(ops.cast(ops.sum(v), "float32") for v in losses)} if losses else {}

    @property
    def metrics(self) -> list:
        return [*super().metrics, *self._shown.means.values()]

    @property
    def metrics_names(self) -> list[str]:
        return [metric.name for metric in self.metrics if metric.name not in self._shown.hidden]

    def get_metrics_result(self) -> dict:
        results = super().get_metrics_result()
        return {key: value for key, value in results.items() if key not in self._shown.hidden}


def _direction(key, averaged):
    """Whether a higher or lower value of a key is better, for callbacks that monitor it."""
    return None if key in averaged else "up" if key.endswith("_accuracy") else "down"


def input_of(model, argument, owner):
    """The shape and dtype of the only input of `model`; an error if it has several, or they are unknown."""
    (only,) = inputs_of(model, argument, owner, most=1)
    return only.shape, only.dtype


def inputs_of(model, argument, owner, most=math.inf):
    """The inputs of `model`; an error if there are more than `most`, if they are unknown, or if there are
    several outputs."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`{argument}` of {owner} must be a Keras model. "
            f"Received: {model!r} (of type {type(model).__name__})."
        )
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs or len(inputs) > most or len(outputs) != 1:
        raise ValueError(
            f"`{argument}` of {owner} must be a built functional or Sequential model with "
            f"{'one input and ' if most == 1 else ''}one output. '{model.name}' ({type(model).__name__}) has "
            f"{len(inputs) if inputs else 'unknown'} input(s) and {len(outputs) if outputs else 'unknown'} "
            "output(s). Begin a Sequential model with `keras.Input(shape)`."
        )
    return list(inputs)
