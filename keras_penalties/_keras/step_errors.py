"""Training steps: what their losses ask of shapes, and what is left of a model after an error in one."""

import keras
from keras import tree

from keras_penalties._keras import private
from keras_penalties._keras.scopes import compute_output_spec


def with_state_after_errors(model, step):
    """`step` of a model on JAX, which gives the model its state back when an error ends it.

    `fit`, `evaluate` and `predict` (keras/src/backend/jax/trainer.py) take the values out of the variables
    and hand them to the step; where the step raises, the variables stay empty, and what the layers have added
    to the loss stays in `_losses_override`, out of a trace that is gone.
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
    # A step of training has four lists, one of a test three, and one of `predict` two.
    variables = [model.trainable_variables, model.non_trainable_variables]
    variables += [model.optimizer.variables] if len(state) == 4 else []
    variables += [model.metrics_variables] if len(state) > 2 else []
    for of_model, of_state in zip(variables, state, strict=True):
        for variable, value in zip(of_model, of_state, strict=True):
            if not value.is_deleted():  # by a step that ran, and failed at the end
                variable.assign(value)
    private.of(model, "_losses_override").clear()
    private.put(model, "_jax_state_synced", True)


def try_loss(model, x, y, sample_weight):
    """Compute the loss of a batch of arrays without numbers, for the errors that its shapes raise."""
    x, y, sample_weight = tree.map_structure(_symbolic, (x, y, sample_weight))
    y_pred = compute_output_spec(model, x, training=False)
    loss = private.of(model, "_compute_loss")
    compute_output_spec(loss, x, y, y_pred, sample_weight=sample_weight, training=False)


def _symbolic(array):
    if array is None:
        return None
    dtype = keras.backend.standardize_dtype(array.dtype)
    dtype = keras.config.floatx() if "float" in dtype else dtype  # as `fit` hands them to the model
    return keras.KerasTensor(array.shape, dtype)
