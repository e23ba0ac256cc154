"""Gradients on each backend: of several scalars at once, and how often one is counted in another."""

import keras


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
    if keras.backend.backend() == "jax":
        import jax

        # As `marked`, but by a rule that forward differentiation can use too, as Hessians do.
        def slope_along(x, along):
            on_gradient()
            return x[0], along[0]

        same = jax.custom_jvp(lambda x: x)
        same.defjvp(slope_along)
        return same(value)
    return marked(value, on_slope=lambda _: on_gradient())


def _ignore(_):
    pass


def marked(x, on_value=_ignore, on_slope=_ignore):
    """`x` itself; `on_value` is called with its value, and `on_slope` with each gradient that arrives at it.

    Both get numbers on JAX too, where `x` itself has none while a gradient is taken. Not for compiled code.
    """
    if keras.backend.backend() == "jax":
        import jax

        @jax.custom_vjp
        def mark(x):
            on_value(x)
            return x

        def forward(x):
            on_value(x)
            return x, None

        def backward(_, slope):
            on_slope(slope)
            return (slope,)

        mark.defvjp(forward, backward)
        return mark(x)
    on_value(keras.ops.stop_gradient(x))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.custom_gradient
        def same(x):
            def backward(slope):
                on_slope(slope)
                return slope

            return tf.identity(x), backward

        return same(x)
    if x.requires_grad:
        x = x.view_as(x)  # a tensor of its own: what others take from `x` is not seen here
        x.register_hook(on_slope)
    return x
