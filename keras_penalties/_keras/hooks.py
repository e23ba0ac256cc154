"""Base classes of layers and models that override private methods that Keras calls."""

from collections.abc import Callable
from typing import Any

import keras

from keras_penalties._keras import private, saving, step_errors
from keras_penalties._types import Tensor


@private.overrides(
    "keras.src.layers.layer.Layer._get_own_losses", "keras.src.layers.layer.Layer._clear_losses"
)
class LayerWithLosses(keras.layers.Layer):
    """A layer that reports what it has added to the loss, and is told when the next pass begins.

    Keras: `src/layers/layer.py`.
    """

    def own_losses(self, of_keras: Callable) -> list:
        """What the layer has added to the loss; `of_keras()` returns what Keras has stored of it."""
        return of_keras()

    def end_pass(self, of_keras: Callable) -> None:
        """Forget what the layer has added to the loss, since an outermost call begins; `of_keras()` clears it
        in Keras."""
        of_keras()

    def allow_same_losses(self) -> None:
        """Allow a loss to be added again: Keras ignores a loss whose `id` it knows."""
        private.of(self, "_loss_ids").clear()

    def _get_own_losses(self):
        return self.own_losses(super()._get_own_losses)

    def _clear_losses(self):
        self.end_pass(super()._clear_losses)


@private.overrides(
    "keras.src.trainers.trainer.Trainer._aggregate_additional_loss",
    "keras.src.backend.jax.trainer.JAXTrainer._make_function",
)
class TrainedModel(keras.Model):
    """A model that survives an error in a step on JAX, and chooses the dtype in which its losses are summed.

    Keras: `src/trainers/trainer.py`, `src/backend/*/trainer.py`, `src/layers/layer.py`.
    """

    def float_loss(self, loss: Any) -> Tensor:
        """`loss`, which a layer has added, in the dtype in which the model sums its losses."""
        return loss

    def scaled(self, loss: Any) -> Any:
        """`loss`, which is not compiled, as Keras adds it to compiled losses: divided by the number of
        replicas."""
        return private.of(self, "_aggregate_additional_loss")(loss)

    def _aggregate_additional_loss(self, loss):
        return super()._aggregate_additional_loss(self.float_loss(loss))

    def _make_function(self, step_function, *args, **kwargs):
        # JAX and TensorFlow call this to compile the steps of `fit`, `evaluate` and `predict`.
        step_function = step_errors.with_state_after_errors(self, step_function)
        return super()._make_function(step_function, *args, **kwargs)  # type: ignore[misc]


@private.overrides("keras.src.layers.layer.Layer._clear_losses")
class ModelAround(TrainedModel):
    """A model that runs another one, whose files hold the same weights in the same places.

    Keras: `src/saving/saving_lib.py`, `src/layers/layer.py`.
    """

    model: keras.Model
    _filed: Any = None

    # Keras saves the parts of a model under the names that `dir` returns, in this order. The name "" comes
    # first and adds nothing to a path, so the parts of the wrapped model have the paths of its own files.
    # `__dir__` leaves out the names under which they would be saved again.

    def __dir__(self):
        return ["", *(name for name in super().__dir__() if name not in ("model", "graph", "_filed"))]

    def __getattr__(self, name):
        if name == "":
            if self._filed is None or not self._filed.are_of(self.model):
                self._filed = saving.PartsOf(self.model)  # kept: Keras knows by its `id` what it has saved
            return self._filed
        return getattr(super(), "__getattr__", self.__getattribute__)(name)  # only PyTorch's modules have one

    def save_own_variables(self, store: Any) -> None:
        self.model.save_own_variables(store)

    def load_own_variables(self, store: Any) -> None:
        self.model.load_own_variables(store)

    def get_running_model(self) -> keras.Model:
        """The model that is called, and that has the losses of the layers."""
        raise NotImplementedError

    @property
    def losses(self) -> list:
        # In a training step on JAX, Keras puts the losses of the step here.
        return private.of(self, "_losses_override") or self.get_running_model().losses

    def _clear_losses(self):
        super()._clear_losses()
        private.of(self.get_running_model(), "_clear_losses")()


@private.overrides("keras.src.layers.layer.Layer._flatten_layers")
class HoldsHelpers:
    """A layer with helpers, which do not count as its sublayers: a mixin for a class of layers."""

    helpers: Any = ()

    def _flatten_layers(self, include_self=True, recursive=True):
        # Keras (keras/src/models/model.py) quantizes only layers without sublayers: helpers do not count.
        layers = super()._flatten_layers(include_self, recursive)  # type: ignore[misc]
        helpers = {id(layer) for layer in self.helpers}
        if include_self and all(id(layer) in helpers for layer in private.of(self, "_layers")):
            return [self]
        return layers
