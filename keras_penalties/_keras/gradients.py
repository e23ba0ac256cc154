"""Gradients on each backend: of several scalars at once, and hooks on values and gradients."""

import keras


def slopes(function, variables, inputs):
    """For each scalar that `function(values of variables, inputs)` returns, its gradients with respect to the
    variables, then the inputs: a flat list of tensors, with None where there is no gradient."""
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
            if not all(jax.numpy.isfinite(slope).all() for part in found for slope in part):
                # A NaN may be another scalar's: zero times its infinite derivative. So take this one alone.
                alone = jax.grad(lambda *of, i=i: function(*of)[i], argnums=(0, 1))
                found = alone(values, inputs)
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
    """`value`, which calls `on_gradient()` when a gradient of it is taken; unchanged if that is None."""
    if on_gradient is None:
        return value
    if keras.backend.backend() == "jax":
        import jax

        # As `marked`, but with a rule that forward differentiation can use too, for example in Hessians.
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

    Both get concrete numbers on JAX too, where `x` is a tracer while a gradient is taken. Not for compiled
    code.
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
        x = x.view_as(x)  # a new tensor: gradients of other uses of `x` do not arrive here
        x.register_hook(on_slope)
    return x
