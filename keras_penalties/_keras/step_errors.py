"""Errors in training steps: check shapes before a step, and restore a model after an error."""

import keras
from keras import tree

from keras_penalties._keras import private
from keras_penalties._keras.scopes import compute_output_spec


def with_state_after_errors(model, step):
    """`step` of a model on JAX, which restores the state of the model after an error.

    `fit`, `evaluate` and `predict` (keras/src/backend/jax/trainer.py) move the values from the variables into
    the step. If the step raises an error, the variables stay empty, and what the layers have added to the
    loss stays in `_losses_override`, although its trace no longer exists.
    """
    if keras.backend.backend() != "jax":
        return step

    def guarded(state, data):
        try:
            return step(state, data)
        except Exception:
            _put_back(model, state)
            raise

    return guarded


def _put_back(model, state):
    # A training step has four lists, a test step three, and a step of `predict` two.
    variables = [model.trainable_variables, model.non_trainable_variables]
    variables += [model.optimizer.variables] if len(state) == 4 else []
    variables += [model.metrics_variables] if len(state) > 2 else []
    for of_model, of_state in zip(variables, state, strict=True):
        for variable, value in zip(of_model, of_state, strict=True):
            if not value.is_deleted():  # a step that failed only at the end has deleted it
                variable.assign(value)
    private.of(model, "_losses_override").clear()
    private.put(model, "_jax_state_synced", True)


def try_loss(model, x, y, sample_weight):
    """Compute the loss of a batch symbolically, to raise the errors that its shapes cause."""
    x, y, sample_weight = tree.map_structure(_symbolic, (x, y, sample_weight))
    y_pred = compute_output_spec(model, x, training=False)
    loss = private.of(model, "_compute_loss")
    compute_output_spec(loss, x, y, y_pred, sample_weight=sample_weight, training=False)


def _symbolic(array):
    if array is None:
        return None
    dtype = keras.backend.standardize_dtype(array.dtype)
    dtype = keras.config.floatx() if "float" in dtype else dtype  # as `fit` passes them to the model
    return keras.KerasTensor(array.shape, dtype)
