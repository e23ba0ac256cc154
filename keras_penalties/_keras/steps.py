"""A training step: Keras' own, or the model's own `train_step`."""

import contextlib

import keras

from keras_penalties._keras import private
from keras_penalties._keras.layers import takes_training
from keras_penalties._keras.replicas import replicas_of


def step_loss(model, x, y, sample_weight, trainable=None):
    """The loss of a training step as Keras computes it, from `trainable`, values for the trainable variables.

    On JAX this is stateless, like `fit`; elsewhere it uses and updates the variables.
    """
    if keras.backend.backend() != "jax":
        y_pred = model(x, **_training(model))
        keras_own = type(model).compute_loss is keras.Model.compute_loss
        if (
            keras_own and compiled_loss(model) is None and not model.losses
        ):  # Keras raises an error, and on JAX returns 0
            return keras.ops.zeros(())
        return private.of(model, "_compute_loss")(x, y, y_pred, sample_weight)
    trainable = [v.value for v in model.trainable_variables] if trainable is None else trainable
    y_pred, others, losses = stateless_step(model, x, trainable)
    private.put(model, "_losses_override", list(losses))
    metrics = [v.value for v in model.metrics_variables]
    loss, _ = model.stateless_compute_loss(
        trainable, others, metrics, x=x, y=y, y_pred=y_pred, sample_weight=sample_weight
    )
    private.put(model, "_losses_override", [])
    return loss


def stateless_step(model, x, trainable):
    """The forward pass of a training step as `fit` on JAX runs it, here on any backend. Returns the
    predictions, the variables that are not trained, and the losses that were added."""
    others = [v.value for v in model.non_trainable_variables]
    return model.stateless_call(trainable, others, x, return_losses=True, **_training(model))


def _training(model):
    return {"training": True} if takes_training(model) else {}


def compiled_loss(model):
    """The function of labels, predictions and weights that Keras built from `loss=` of `compile`, or None."""
    return private.of(model, "_compile_loss")


def forget_compiled(model):
    """Remove the loss and the metrics of `model` until `compile` sets new ones: Keras keeps the old ones if
    there are no new ones (keras/src/trainers/trainer.py)."""
    private.put(model, "_compile_loss", None)
    private.put(model, "_compile_metrics", None)
    model.loss = None


@contextlib.contextmanager
def without_compiled_loss(model):
    """Remove the compiled loss of `model` inside the context."""
    loss = compiled_loss(model)
    private.put(model, "_compile_loss", None)
    try:
        yield
    finally:
        private.put(model, "_compile_loss", loss)


def own_step(model) -> str:
    """The method by which `model` replaces Keras' training step, or an empty string."""
    names = ["make_train_function", "train_step"]
    if keras.backend.backend() == "jax":
        names.append("compute_loss_and_updates")
    own = [n for n in names if n in vars(model) or getattr(type(model), n) is not getattr(keras.Model, n)]
    return own[0] if own else ""


def build_for_own_step(model, x, y, sample_weight):
    """On JAX, create metrics and optimizer variables, as `fit` does before the first step; elsewhere the step
    does."""
    if keras.backend.backend() == "jax":
        private.of(model, "_symbolic_build")(data_batch=(x, y, sample_weight))


def take_own_step(model, x, y, sample_weight):
    """Run `train_step` of `model` in Python, not compiled: `fit` would reuse what it traces now.

    It updates weights and everything else as in `fit`; on JAX it does not update variables.
    """
    if own_step(model) == "make_train_function":
        raise RuntimeError("Only `fit` runs `make_train_function`.")
    if replicas_of(model) > 1:
        raise RuntimeError("It runs on several replicas.")
    data = keras.utils.pack_x_y_sample_weight(x, y, sample_weight)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        before = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        try:
            model.train_step(data)
        finally:
            tf.config.run_functions_eagerly(before)
    elif keras.backend.backend() == "jax":
        import jax

        groups = (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables if model.optimizer is not None else [],
            model.metrics_variables,
        )
        with jax.disable_jit():
            model.train_step(tuple([v.value for v in group] for group in groups), data)
    else:
        for variable in model.trainable_variables:
            variable.value.grad = None
        model.train_step(data)


@contextlib.contextmanager
def without_loss_scale(objects):
    """Stop the optimizers among `objects` from scaling the loss inside the context."""
    optimizers = [found for found in objects if isinstance(found, keras.optimizers.Optimizer)]
    for optimizer in optimizers:
        vars(optimizer)["scale_loss"] = lambda loss: loss
    try:
        yield
    finally:
        for optimizer in optimizers:
            del vars(optimizer)["scale_loss"]
