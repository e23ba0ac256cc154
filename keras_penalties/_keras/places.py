"""Parts of a program that a loss cannot leave: rematerialized blocks, loops, branches.

A layer that adds to the loss inside such a part adds a value that is not part of the training step: JAX
fails, TensorFlow drops the gradient, and PyTorch adds it again in the backward pass.
"""

import itertools
import sys

import keras

from keras_penalties._keras import private, scopes

# JAX traces that take gradients. A value may be used outside of them, without its gradient.
_DIFFERENTIATED = ("JVPTrace", "LinearizeTrace")


def place():
    """Where the code runs, to compare with the place where what it adds to the loss is read."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return scopes.graph(), _tape_is_stopped(), _vectorized_loops()
    if backend == "jax":
        return scopes.traces()
    return _checkpointed()


def cannot_leave(made_at) -> bool:
    """Whether a loss that was added at the place `made_at` is lost where the code runs now."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        graph, stopped, loops = made_at
        here = scopes.graph()
        if graph is here:
            return (stopped and not _tape_is_stopped()) or loops > _vectorized_loops()
        return here is not None and any(outer is here for outer in _graphs_around(graph))
    if backend == "jax":
        here = scopes.traces()[0]
        within = list(itertools.takewhile(lambda trace: trace is not here, made_at))
        ended = len(within) == len(made_at)  # it was added in an earlier step
        return not ended and any(type(trace).__name__ not in _DIFFERENTIATED for trace in within)
    return made_at and not _checkpointed()


def lost(owner) -> str:
    """The error message for a loss that cannot reach the training step."""
    return (
        f"{owner} is called inside a part that is recomputed in the backward pass (`keras.remat`, or a "
        "layer in a `keras.RematScope`), or inside a loop or branch that the backend compiles separately "
        "(`scan`, `while_loop`, `cond`, `vectorized_map`). What it adds to the loss is lost there, or "
        "counted twice. Call it outside: on a tensor that goes into that part, or comes out of it."
    )


def is_recomputed() -> bool:
    """Whether a loss that is added here will be lost. Some cases show only when the loss is read: see
    `cannot_leave`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _tape_is_stopped()
    if backend == "jax":
        return is_traced_apart()
    return _checkpointed() or in_backward_pass()


def in_backward_pass() -> bool:
    """Whether PyTorch is computing gradients: then the code ran before, in the forward pass."""
    if keras.backend.backend() != "torch":
        return False
    return private.find("torch._C._current_graph_task_id")() != -1


def is_traced_apart() -> bool:
    """Whether the code runs in a function that JAX traces separately, inside the call of a layer or model:
    `keras.remat`, `jax.jit`, the body of a `scan`. What is added to a loss there cannot leave it. And if JAX
    knows the function from an earlier call, such as that of building, it does not run in a training step.

    The traces do not show which of them began inside a call, and which around the model. The stack does.
    """
    if keras.backend.backend() != "jax" or not scopes.is_staged(scopes.traces()[0]):
        return False
    tracer = private.find("jax._src.interpreters.partial_eval.trace_to_jaxpr_dynamic").__module__
    layer, shapes = keras.layers.Layer.__module__, scopes.compute_output_spec.__module__
    begun, within_jax, frame = 0, False, sys._getframe(1)
    while frame is not None:
        module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if module == tracer and name.startswith("trace_to_jaxpr"):
            begun += not within_jax
            within_jax = True
        elif not module.startswith("jax."):
            within_jax = False
        if begun and module == layer and name in ("__call__", "stateless_call"):
            return True
        if module == shapes and name == "compute_output_spec":
            return begun > 1  # one of them is Keras' own, which infers shapes
        frame = frame.f_back
    return False


def _tape_is_stopped():
    """Whether gradients are not recorded, as in the forward pass of `tf.recompute_grad`, which
    `keras.remat` calls on TensorFlow (keras/src/backend/tensorflow/core.py)."""
    return private.find("tensorflow.python.pywrap_tfe.TFE_Py_TapeSetIsStopped")()


def _vectorized_loops():
    """How many `tf.vectorized_map` run the code: each traces its body into the current graph."""
    graph = scopes.graph()
    return 0 if graph is None else graph.get_name_scope().split("/").count("loop_body")


def _graphs_around(graph):
    while (graph := getattr(graph, "outer_graph", None)) is not None:
        yield graph


def _checkpointed():
    """Whether `torch.utils.checkpoint`, which `keras.remat` calls on PyTorch
    (keras/src/backend/torch/core.py), will run the code again in the backward pass."""
    import torch

    hooks = private.find("torch._C._autograd._top_saved_tensors_default_hooks")(True)
    return bool(hooks) and torch.is_grad_enabled() and hooks[0].__module__ == "torch.utils.checkpoint"
