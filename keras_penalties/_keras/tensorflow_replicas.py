"""Sums and rows over the replicas of TensorFlow's `tf.distribute`.

`ReplicaContext.all_reduce` makes the threads of a `MirroredStrategy` wait for each other while they build
the graph. In the meantime they change each other's `layer._losses`, and losses that other layers have added
are lost or counted twice. Collective operations meet by keys when the graph runs instead: the k-th of a graph
on one replica meets the k-th on the others.
"""

import itertools
import weakref
from typing import Any

from keras_penalties._keras.replicas import replica

SIZES = [*range(1, 8), *(eighths * 2**e for e in range(28) for eighths in range(8, 16))]
_groups: dict = {}
_tokens: dict = {}
_graphs: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_keys = itertools.count(2**20, 2**18)


def count() -> int:
    """How many replicas share the batch, in a graph; 1 elsewhere.

    Eager replicas share nothing: with a collective, their threads would mix up each other's losses.
    """
    import tensorflow as tf

    if tf.executing_eagerly() or tf.distribute.in_cross_replica_context():
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def with_gradient(x, value_of, slopes_of) -> Any:
    """`value_of(x)`, whose gradient in `x` is `slopes_of` of the gradient in the value."""
    import tensorflow as tf

    @tf.custom_gradient
    def value(x):
        return tf.identity(value_of(x)), slopes_of

    return value(x)


def sum_of(x, place=0) -> Any:
    import tensorflow as tf

    if not _are_mirrored():
        return tf.distribute.get_replica_context().all_reduce("SUM", x)
    return tf.raw_ops.CollectiveReduceV2(input=x, merge_op="Add", final_op="Id", **_meeting(place))


def largest_of(x) -> Any:
    import tensorflow as tf

    x = tf.stop_gradient(x)
    if not _are_mirrored():  # `all_reduce` has no largest value
        return tf.reduce_max(_rows_of(x[None]), axis=0)
    largest = tf.raw_ops.CollectiveReduceV2(input=x, merge_op="Max", final_op="Id", **_meeting(0))
    return tf.stop_gradient(largest)


def rows_like(x):
    """How to collect the rows of tensors with as many rows as `x` has."""
    return RowsOfReplicas(x)


class RowsOfReplicas:
    """Where the rows of each replica are among the rows of all.

    A collective keeps the shape of its first run. So the rows of each replica are padded to one of a few
    sizes, at most an eighth more than needed, and each size has its own key.

    Attributes:
        kept: which rows are real.
        start: the index of the first row of this replica.
    """

    def __init__(self, x):
        import tensorflow as tf

        self._count = tf.shape(x)[0]
        counts = _rows_of(self._count[None])
        self._place = tf.searchsorted(SIZES, tf.reduce_max(counts)[None])[0]
        self._most = tf.gather(SIZES, self._place)
        self.kept = tf.reshape(tf.range(self._most)[None] < counts[:, None], [-1])
        self.start = replica() * self._most

    def rows_of(self, x):
        """The rows of all replicas."""
        import tensorflow as tf

        if x.dtype == tf.bool:  # which collectives do not support
            return self.rows_of(tf.cast(x, "int32")) > 0
        padded = tf.pad(x, [[0, self._most - self._count]] + [[0, 0]] * (len(x.shape) - 1))
        return tf.ensure_shape(_rows_of(padded, self._place), [None, *x.shape[1:]])

    def sum_of(self, rows):
        """The sum over the replicas of a tensor that has a row for each row of all."""
        return sum_of(rows, self._place)

    def own(self, rows):
        """The rows of this replica among those of all."""
        return rows[self.start : self.start + self._count]


def _rows_of(x, place=0) -> Any:
    import tensorflow as tf

    if _are_mirrored():
        return tf.raw_ops.CollectiveGatherV2(input=x, **_meeting(place))
    return sum_of(tf.concat([x if i == replica() else tf.zeros_like(x) for i in range(count())], 0))


def _are_mirrored():
    import tensorflow as tf

    return isinstance(tf.distribute.get_strategy(), tf.distribute.MirroredStrategy)


def _meeting(place):
    """The keys by which replicas meet: the same at the same place of the program on each replica. `place`
    distinguishes up to 256 shapes that the tensors of one collective may have."""
    import tensorflow as tf

    devices = tuple(tf.distribute.get_strategy().extended.worker_devices)
    group = _groups.setdefault(devices, 7_000_000 + len(_groups))
    graph = tf.compat.v1.get_default_graph()
    while graph.outer_graph.building_function:
        graph = graph.outer_graph
    if graph not in _graphs:
        _graphs[graph] = next(_keys), {}
    first, used = _graphs[graph]
    used[replica()] = used.get(replica(), 0) + 1
    return {
        "group_size": len(devices),
        "group_key": group,
        "instance_key": (first + 256 * used[replica()]) % 2**31 + place,
        "ordering_token": [_around_conditions().capture(_token(devices[replica()]))],
    }


def _around_conditions() -> Any:
    """The graph that contains all `tf.cond` around this code. Of what is outside of them, their gradients can
    only use what is in that graph (tensorflow/python/ops/cond_v2.py, `_resolve_grad_inputs`)."""
    import tensorflow as tf

    graph = tf.compat.v1.get_default_graph()
    while type(graph).__name__ in ("CondBranchFuncGraph", "_CondGradFuncGraph"):
        graph = graph.outer_graph
    return graph


def _token(device):
    """A handle that keeps the operations of one replica in order, and separate from those of the others."""
    import tensorflow as tf

    if device not in _tokens:
        with tf.init_scope(), tf.device(device):
            name = f"keras_penalties_{len(_tokens)}"
            token = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name=name)
            tf.raw_ops.AssignVariableOp(resource=token, value=tf.constant(0.0))
            _tokens[device] = token
    return _tokens[device]
