"""Which graph, trace or scope the code runs in, and what can be seen of a value there."""

import keras
import numpy as np
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
    """The values of `x`, or None where there are none to be seen: inside a compiled step."""
    if isinstance(x, np.ndarray):
        return x
    if isinstance(x, keras.KerasTensor):
        return None
    if not keras.ops.is_tensor(x):
        x = keras.ops.convert_to_tensor(x)
    if keras.backend.backend() == "torch":
        import torch

        # In the scope, Keras asks for shapes, and hands over memory as it comes.
        if in_stateless_scope() or torch.compiler.is_compiling() or _is_transformed():
            return None
    if keras.backend.backend() == "tensorflow" and not hasattr(x, "numpy"):
        return None
    if keras.backend.backend() == "jax":
        from jax.core import Tracer

        if isinstance(x, Tracer):
            return None
    return keras.ops.convert_to_numpy(x)


def _is_transformed() -> bool:
    """Whether `torch.func` (`grad`, `vmap`) traces the code that runs: PyTorch has no public way to ask."""
    from torch._C._functorch import peek_interpreter_stack

    return peek_interpreter_stack() is not None
