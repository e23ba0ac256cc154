"""Parts of a program that a loss cannot leave: what is rematerialized, loops, branches.

A layer that adds to the loss inside of such a part adds a value that is not part of the training step:
JAX fails, TensorFlow drops the gradient, and PyTorch adds it again in the backward pass.
"""

import itertools

import keras

from keras_penalties._keras import private, scopes

# JAX traces that take gradients. A value may be used outside of them, without its gradient.
_DIFFERENTIATED = ("JVPTrace", "LinearizeTrace")


def place():
    """Where the code runs, to be compared with where what it adds to the loss is read."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return scopes.graph(), _tape_is_stopped(), _vectorized_loops()
    if backend == "jax":
        return scopes.traces()
    return _checkpointed()


def cannot_leave(made_at) -> bool:
    """Whether a loss that was made at the place `made_at` is lost where the code runs now."""
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
        ended = len(within) == len(made_at)  # it was made in a step that is over
        return not ended and any(type(trace).__name__ not in _DIFFERENTIATED for trace in within)
    return made_at and not _checkpointed()


def lost(owner) -> str:
    """What to say of a loss that is made where it cannot reach the training step."""
    return (
        f"{owner} is called inside a part that is computed again in the backward pass (`keras.remat`, or a "
        "layer in a `keras.RematScope`), or inside a loop or branch that the backend compiles by itself "
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
        scope = scopes.stateless_scope()
        outer = scopes.traces()[1:]  # the innermost and another one that compiles
        return (
            scope is not None
            and scope.collect_losses
            and scopes.is_staged(scopes.traces()[0])
            and any(scopes.is_staged(trace) or type(trace).__name__ in _DIFFERENTIATED for trace in outer)
        )
    return _checkpointed() or in_backward_pass()


def in_backward_pass() -> bool:
    """Whether PyTorch computes gradients just now: then what runs was run before, in the forward pass."""
    if keras.backend.backend() != "torch":
        return False
    return private.find("torch._C._current_graph_task_id")() != -1


def _tape_is_stopped():
    """Whether gradients are not recorded, as in the forward pass of `tf.recompute_grad`, which is what
    `keras.remat` is on TensorFlow (keras/src/backend/tensorflow/core.py)."""
    return private.find("tensorflow.python.pywrap_tfe.TFE_Py_TapeSetIsStopped")()


def _vectorized_loops():
    """How many `tf.vectorized_map` run the code: it traces its body into the graph that is there."""
    graph = scopes.graph()
    return 0 if graph is None else graph.get_name_scope().split("/").count("loop_body")


def _graphs_around(graph):
    while (graph := getattr(graph, "outer_graph", None)) is not None:
        yield graph


def _checkpointed():
    """Whether `torch.utils.checkpoint`, which is what `keras.remat` is on PyTorch
    (keras/src/backend/torch/core.py), will run the code again in the backward pass."""
    import torch

    hooks = private.find("torch._C._autograd._top_saved_tensors_default_hooks")(True)
    return bool(hooks) and torch.is_grad_enabled() and hooks[0].__module__ == "torch.utils.checkpoint"
