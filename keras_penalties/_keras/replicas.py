"""TensorFlow's replicas: which one runs, how many there are, and sums and rows over all of them."""

import itertools
import weakref
from typing import Any, ClassVar

import keras


def replica() -> int:
    """The index of the TensorFlow replica that runs this code; 0 without replicas."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is not None:
            return int(tf.get_static_value(context.replica_id_in_sync_group) or 0)
    return 0


def replicas() -> int:
    """How many TensorFlow replicas share the batch, in a graph; 1 elsewhere.

    JAX always sees the global batch. Eager replicas share nothing: with a collective, their threads would mix
    up each other's losses.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if not tf.executing_eagerly() and not tf.distribute.in_cross_replica_context():
            return tf.distribute.get_strategy().num_replicas_in_sync
    return 1


def unscale(loss):
    """Undo the division by the number of TensorFlow replicas that Keras puts into a loss."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        count = tf.distribute.get_strategy().num_replicas_in_sync
        return loss * count if count > 1 else loss
    return loss


def sum_over_replicas(x):
    """The sum of `x` over the TensorFlow replicas, with its gradient; `x` itself with one replica."""
    return _Collectives.sum(x) if replicas() > 1 else x


def gather(*xs):
    """The rows of all TensorFlow replicas, with their gradient, of tensors with as many rows each.

    Returns:
        `(xs, kept, start)`: the rows of each tensor; which rows are real (None: all; the others are zeros, or
        False, that pad uneven splits); and the index of this replica's first row.
    """
    if replicas() == 1:
        return list(xs), None, 0
    import tensorflow as tf

    count = tf.shape(xs[0])[0]
    counts = _Collectives.gather(count[None])
    # A collective keeps the shape of its first run. So rows are padded to one of a few sizes, at most an
    # eighth more than needed, and each size has its own key.
    place = tf.searchsorted(_SIZES, tf.reduce_max(counts)[None])[0]
    most = tf.gather(_SIZES, place)
    kept = tf.reshape(tf.range(most)[None] < counts[:, None], [-1])

    def of_all(x):
        if x.dtype == tf.bool:  # which collectives do not support
            return of_all(tf.cast(x, "int32")) > 0
        padded = tf.pad(x, [[0, most - count]] + [[0, 0]] * (len(x.shape) - 1))
        return tf.ensure_shape(_Collectives.gather(padded, place), [None, *x.shape[1:]])

    return [of_all(x) for x in xs], kept, replica() * most


_SIZES = [*range(1, 8), *(eighths * 2**e for e in range(28) for eighths in range(8, 16))]


class _Collectives:
    """Sums and rows over TensorFlow's replicas.

    `ReplicaContext.all_reduce` makes the threads of a `MirroredStrategy` wait for each other while they
    build the graph. In the meantime they change each other's `layer._losses`, and losses that other layers
    have added are lost or counted twice. Collective operations meet by keys when the graph runs instead: the
    k-th of a graph on one replica meets the k-th on the others. `place` distinguishes up to 256 shapes that
    the tensors of one collective may have.
    """

    _groups: ClassVar[dict] = {}
    _tokens: ClassVar[dict] = {}
    _graphs: ClassVar[weakref.WeakKeyDictionary] = weakref.WeakKeyDictionary()
    _keys: ClassVar[itertools.count] = itertools.count(2**20, 2**18)

    @classmethod
    def sum(cls, x) -> Any:
        import tensorflow as tf

        if not cls._mirrored():
            return tf.distribute.get_replica_context().all_reduce("SUM", x)

        @tf.custom_gradient
        def sum_of_all(x):
            return cls._reduce(x), cls._reduce

        return sum_of_all(x)

    @classmethod
    def gather(cls, x, place=0) -> Any:
        import tensorflow as tf

        if not cls._mirrored():
            parts = [x if i == replica() else tf.zeros_like(x) for i in range(replicas())]
            return cls.sum(tf.concat(parts, 0))

        @tf.custom_gradient
        def rows_of_all(x):
            count = tf.shape(x)[0]
            rows = tf.raw_ops.CollectiveGatherV2(input=x, **cls._meeting(place))

            def own(slopes):
                return cls._reduce(slopes, place)[replica() * count : (replica() + 1) * count]

            return rows, own

        return rows_of_all(x)

    @classmethod
    def _reduce(cls, x, place=0):
        import tensorflow as tf

        return tf.raw_ops.CollectiveReduceV2(input=x, merge_op="Add", final_op="Id", **cls._meeting(place))

    @staticmethod
    def _mirrored():
        import tensorflow as tf

        return isinstance(tf.distribute.get_strategy(), tf.distribute.MirroredStrategy)

    @classmethod
    def _meeting(cls, place):
        """The keys by which replicas meet: the same at the same place of the program on each replica."""
        import tensorflow as tf

        devices = tuple(tf.distribute.get_strategy().extended.worker_devices)
        group = cls._groups.setdefault(devices, 7_000_000 + len(cls._groups))
        graph = tf.compat.v1.get_default_graph()
        while graph.outer_graph.building_function:
            graph = graph.outer_graph
        if graph not in cls._graphs:
            cls._graphs[graph] = next(cls._keys), {}
        first, used = cls._graphs[graph]
        used[replica()] = used.get(replica(), 0) + 1
        return {
            "group_size": len(devices),
            "group_key": group,
            "instance_key": (first + 256 * used[replica()]) % 2**31 + place,
            "ordering_token": [cls._token(devices[replica()])],
        }

    @classmethod
    def _token(cls, device):
        """A handle that keeps the operations of one replica in order, and separate from those of the
        others."""
        import tensorflow as tf

        if device not in cls._tokens:
            with tf.init_scope(), tf.device(device):
                name = f"keras_penalties_{len(cls._tokens)}"
                token = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name=name)
                tf.raw_ops.AssignVariableOp(resource=token, value=tf.constant(0.0))
                cls._tokens[device] = token
        return cls._tokens[device]


def replicas_of(model) -> int:
    """How many TensorFlow replicas `model` trains on."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.num_replicas_in_sync if strategy is not None else 1
