"""What `keras.ops` cannot say. No other file knows a backend or a private part of Keras."""

import keras
from keras.src.backend import get_keras_mask as get_keras_mask
from keras.src.backend import set_keras_mask as set_keras_mask
from keras.src.backend.common.stateless_scope import get_stateless_scope, in_stateless_scope
from keras.src.models.functional import Functional

# From 3.14 on, `Layer.__call__` divides what an `activity_regularizer` returns by the batch size.
KERAS_DIVIDES_BY_BATCH = tuple(int(part) for part in keras.__version__.split(".")[:2]) >= (3, 14)


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


def replica() -> int:
    """The index of the TensorFlow replica that runs this code; 0 where there are none."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is not None:
            return int(tf.get_static_value(context.replica_id_in_sync_group) or 0)
    return 0


def unscale(loss):
    """Undo the division by the number of TensorFlow replicas that Keras puts into a loss."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return loss * replicas if replicas > 1 else loss
    return loss


def is_functional(model) -> bool:
    """Whether `model` is a graph of layers, which can be wired anew around the same layers."""
    return isinstance(model, Functional)


def graph_calls(model) -> dict:
    """For each layer or operation of a functional model, by name, its calls in the order in which the
    graph runs them, as pairs of (how many calls of it were made before, the tensors it gave)."""
    calls = {}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            calls.setdefault(node.operation.name, []).append(node)
    order = {
        name: sorted(nodes, key=nodes[0].operation._inbound_nodes.index) for name, nodes in calls.items()
    }
    return {name: [(order[name].index(n), list(n.outputs)) for n in nodes] for name, nodes in calls.items()}


def overridden(model, names) -> list:
    """Which of `names` the class of `model` defines itself, instead of taking them from Keras."""
    base = keras.Sequential if isinstance(model, keras.Sequential) else Functional
    return [name for name in names if getattr(type(model), name) is not getattr(base, name)]


def as_numpy(x):
    """The values of `x`, or None inside a compiled step, where there are none to be seen."""
    if isinstance(x, (list, tuple)):
        x = keras.ops.convert_to_tensor(x)
    if keras.backend.backend() == "tensorflow" and not hasattr(x, "numpy"):
        return None
    if keras.backend.backend() == "jax":
        from jax.core import Tracer

        if isinstance(x, Tracer):
            return None
    return keras.ops.convert_to_numpy(x)
