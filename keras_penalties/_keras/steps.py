"""A training step: as Keras takes it, and as a model's own `train_step` does."""

import contextlib

import keras

from keras_penalties._keras import private
from keras_penalties._keras.layers import takes_training
from keras_penalties._keras.replicas import replicas_of


def step_loss(model, x, y, sample_weight, trainable=None):
    """The loss of a training step as Keras computes it, from `trainable`, values for the trainable variables.

    On JAX, where `fit` is stateless, so is this; elsewhere the variables are used, and moved, as they are.
    """
    if keras.backend.backend() != "jax":
        y_pred = model(x, **_training(model))
        keras_own = type(model).compute_loss is keras.Model.compute_loss
        if keras_own and compiled_loss(model) is None and not model.losses:  # it raises, and on JAX gives 0
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
    """The forward pass of a training step as `fit` on JAX runs it, here on any backend: the predictions, the
    variables that are not trained, and the losses that were added."""
    others = [v.value for v in model.non_trainable_variables]
    return model.stateless_call(trainable, others, x, return_losses=True, **_training(model))


def _training(model):
    return {"training": True} if takes_training(model) else {}


def compiled_loss(model):
    """What Keras has made of `loss=` of `compile`, a function of labels, predictions and weights; or None."""
    return private.of(model, "_compile_loss")


def forget_compiled(model):
    """Let `model` have no loss and no metrics until `compile` sets new ones: Keras keeps the old ones where
    it is given none (keras/src/trainers/trainer.py)."""
    private.put(model, "_compile_loss", None)
    private.put(model, "_compile_metrics", None)
    model.loss = None


@contextlib.contextmanager
def without_compiled_loss(model):
    """Within, `model` has no compiled loss."""
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
    """Make what `fit` on JAX makes before the first step, metrics and optimizer; elsewhere the step does."""
    if keras.backend.backend() == "jax":
        private.of(model, "_symbolic_build")(data_batch=(x, y, sample_weight))


def take_own_step(model, x, y, sample_weight):
    """Run `train_step` of `model` in Python, not compiled: what it traces now would be kept for `fit`.

    It moves weights and all else that it moves in `fit`; on JAX only what is no variable.
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
    """Within, the optimizers among `objects` do not scale the loss: gradients are those of the loss."""
    optimizers = [found for found in objects if isinstance(found, keras.optimizers.Optimizer)]
    for optimizer in optimizers:
        vars(optimizer)["scale_loss"] = lambda loss: loss
    try:
        yield
    finally:
        for optimizer in optimizers:
            del vars(optimizer)["scale_loss"]
