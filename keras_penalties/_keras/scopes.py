"""Which graph, trace or scope the code runs in, and what can be seen of a value there."""

import keras
from keras.src.backend.common.stateless_scope import get_stateless_scope, in_stateless_scope


def stateless_scope():
    """The scope in which JAX collects a step's losses, or None outside of one."""
    return get_stateless_scope() if in_stateless_scope() else None


def belongs_here(value) -> bool:
    """Whether `value` may be used in the graph or trace that is being built now."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        symbolic = not hasattr(value, "numpy")
        return not symbolic or value.graph is tf.compat.v1.get_default_graph()
    if backend == "jax":
        import jax.numpy
        from jax.core import Tracer

        return isinstance(jax.numpy.zeros(()), Tracer) or not isinstance(value, Tracer)
    return True


def as_numpy(x):
    """The values of `x`, or None inside a compiled step, where there are none to be seen."""
    if isinstance(x, (list, tuple)):
        x = keras.ops.convert_to_tensor(x)
    if keras.backend.backend() == "torch":
        import torch

        # In the scope, Keras asks for shapes, and hands over memory as it comes.
        if in_stateless_scope() or torch.compiler.is_compiling() or _is_transformed(x):
            return None
    if keras.backend.backend() == "tensorflow" and not hasattr(x, "numpy"):
        return None
    if keras.backend.backend() == "jax":
        from jax.core import Tracer

        if isinstance(x, Tracer):
            return None
    return keras.ops.convert_to_numpy(x)


def _is_transformed(x) -> bool:
    """Whether `torch.func` (`grad`, `vmap`) traces the tensor `x`: PyTorch has no public way to ask."""
    from torch._C._functorch import is_functorch_wrapped_tensor

    return keras.ops.is_tensor(x) and is_functorch_wrapped_tensor(x)
