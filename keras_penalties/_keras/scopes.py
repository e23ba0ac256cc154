"""The graph, trace or scope that the code runs in, and the values that are known there."""

import keras
import numpy as np

from keras_penalties._keras import private

compute_output_spec = private.find("keras.src.backend.compute_output_spec")
in_stateless_scope = private.find("keras.src.backend.common.stateless_scope.in_stateless_scope")
get_stateless_scope = private.find("keras.src.backend.common.stateless_scope.get_stateless_scope")
in_symbolic_scope = private.find("keras.src.backend.common.symbolic_scope.in_symbolic_scope")


def stateless_scope():
    """The scope in which JAX collects a step's losses, or None outside of one."""
    return get_stateless_scope() if in_stateless_scope() else None


class _Repeated(keras.StatelessScope):
    """A scope for a pass that is run again."""


def repeated(state: dict):
    """A scope in which a pass is run again from `state`, the values of variables by `id`, without effects."""
    scope = _Repeated()
    scope.state_mapping.update(state)
    return scope


def is_repeated() -> bool:
    """Whether the pass ran before, so that it must have no effects."""
    return isinstance(stateless_scope(), _Repeated)


def is_symbolic() -> bool:
    """Whether Keras runs the code only to infer shapes."""
    return in_symbolic_scope()


def graph():
    """The graph that the current code becomes part of: TensorFlow's graph, the outermost function that JAX
    compiles, or None in eager code."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    if backend == "jax":
        staged = [trace for trace in traces() if is_staged(trace)]
        return staged[-1] if staged else None
    return None


def traces(trace=None) -> list:
    """JAX's traces around the current code, or around `trace`, the innermost first."""
    # JAX offers no public way to ask which trace a value belongs to.
    trace, found = trace or private.find("jax._src.core.trace_ctx").trace, []
    while trace is not None:
        found.append(trace)
        trace = getattr(trace, "parent_trace", None)
    return found


def is_staged(trace) -> bool:
    """Whether code in a trace of JAX is compiled; otherwise it is only differentiated."""
    return type(trace).__name__ == "DynamicJaxprTrace"


def belongs_here(value) -> bool:
    """Whether `value` was computed in the current graph or trace, or in one around it."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return (None if hasattr(value, "numpy") else value.graph) is graph()
    if backend == "jax":
        from jax.core import Tracer

        if isinstance(value, Tracer):
            return any(private.of(value, "_trace") is trace for trace in traces())
        return graph() is None
    return True


def can_use(value) -> bool:
    """Whether `value` can be used here: it is not left over from an earlier compiled step of JAX."""
    return keras.backend.backend() != "jax" or belongs_here(value)


def may_assign() -> bool:
    """Whether a variable that is assigned here keeps its value."""
    if in_stateless_scope():
        return False
    return keras.backend.backend() != "jax" or len(traces()) == 1


def as_numpy(x):
    """The values of `x`, or None if they are unknown, as inside a compiled step."""
    if isinstance(x, np.ndarray):
        return x
    if isinstance(x, keras.KerasTensor):
        return None
    if not keras.ops.is_tensor(x):
        x = keras.ops.convert_to_tensor(x)
    if keras.backend.backend() == "torch":
        import torch

        # In the scope, Keras infers shapes, and passes uninitialized memory.
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
    """Whether `torch.func` (`grad`, `vmap`) traces the current code: PyTorch has no public way to ask."""
    return private.find("torch._C._functorch.peek_interpreter_stack")() is not None
