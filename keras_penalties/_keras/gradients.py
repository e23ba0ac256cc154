"""One training step as `fit` takes it, and the gradients in it, on each backend."""

import keras


def step_loss(model, x, y, sample_weight, trainable=None):
    """The loss of a training step as `fit` computes it, from `trainable`, values for the trainable variables.

    On JAX, where `fit` is stateless, so is this; elsewhere the variables are used, and moved, as they are.
    """
    if keras.backend.backend() != "jax":
        y_pred = model(x, **_training(model))
        keras_own = type(model).compute_loss is keras.Model.compute_loss
        if keras_own and model._compile_loss is None and not model.losses:  # it raises, and on JAX gives 0
            return keras.ops.zeros(())
        return model._compute_loss(x, y, y_pred, sample_weight)
    trainable = [v.value for v in model.trainable_variables] if trainable is None else trainable
    y_pred, others, losses = stateless_step(model, x, trainable)
    model._losses_override = list(losses)
    metrics = [v.value for v in model.metrics_variables]
    loss, _ = model.stateless_compute_loss(
        trainable, others, metrics, x=x, y=y, y_pred=y_pred, sample_weight=sample_weight
    )
    model._losses_override = []
    return loss


def stateless_step(model, x, trainable):
    """The forward pass of a training step as `fit` on JAX runs it, here on any backend: the predictions, the
    variables that are not trained, and the losses that were added."""
    others = [v.value for v in model.non_trainable_variables]
    return model.stateless_call(trainable, others, x, return_losses=True, **_training(model))


def _training(model):
    return {"training": True} if model._call_has_training_arg else {}


def slopes(function, variables, inputs):
    """For each scalar that `function(values of variables, inputs)` gives, its gradients with respect to the
    variables and the inputs, one after the other: a flat list of tensors, with None where there is none."""
    values = [v.value for v in variables]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(persistent=True) as tape:
            tape.watch(inputs)
            scalars = function(values, inputs)
        for scalar in scalars:
            found = tape.gradient(scalar, [*values, *inputs])
            yield [tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in found]
    elif keras.backend.backend() == "jax":
        import jax

        scalars, pull = jax.vjp(function, values, inputs)
        zeros = [jax.numpy.zeros_like(s) for s in scalars]
        for i, one in enumerate(scalars):
            found = pull([*zeros[:i], jax.numpy.ones_like(one), *zeros[i + 1 :]])
            yield [slope for part in found for slope in part]
    else:
        import torch

        wanted = [*values, *(x.detach().requires_grad_() for x in inputs)]
        for s in function(values, wanted[len(values) :]):
            if wanted and s.requires_grad:
                yield torch.autograd.grad(s, wanted, retain_graph=True, allow_unused=True)
            else:
                yield [None] * len(wanted)


def watched(value, on_gradient):
    """`value`, which calls `on_gradient()` when a gradient is taken of it; itself where that is None."""
    if on_gradient is None:
        return value
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def slope(upstream):
            on_gradient()
            return upstream

        return tf.custom_gradient(lambda x: (tf.identity(x), slope))(value)
    if keras.backend.backend() == "jax":
        import jax

        def slope_along(x, along):
            on_gradient()
            return x[0], along[0]

        same = jax.custom_jvp(lambda x: x)
        same.defjvp(slope_along)
        return same(value)
    if value.requires_grad:
        value.register_hook(lambda _: on_gradient())
    return value
