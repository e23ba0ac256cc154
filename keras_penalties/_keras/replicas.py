"""Replicas that share a batch: which one runs, how many there are, and sums and rows over all of them.

Replicas are those of TensorFlow's `tf.distribute`, or the processes of `torch.distributed`. JAX needs none of
this: there the code sees the whole batch.

Training takes the mean of the replicas' losses: Keras divides them by the number of replicas on TensorFlow,
and `DistributedDataParallel` takes the mean of the gradients. The gradients here are those of that mean.
"""

import contextlib
import contextvars
from typing import Any

import keras
from keras import ops

_OWN_ROWS = contextvars.ContextVar("own_rows", default=False)
_ALONE = contextvars.ContextVar("alone", default=False)


def _collectives() -> Any:
    """The module for this backend, or None."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from keras_penalties._keras import tensorflow_replicas

        return tensorflow_replicas
    if backend == "torch":
        from keras_penalties._keras import torch_processes

        return torch_processes
    return None


def replica() -> int:
    """The index of the TensorFlow replica, a thread, that runs this code; 0 without replicas."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is not None:
            return int(tf.get_static_value(context.replica_id_in_sync_group) or 0)
    return 0


def rank() -> int:
    """The index of the TensorFlow replica, or of the process of torch, among those that share the batch."""
    if keras.backend.backend() == "torch" and replicas() > 1:
        import torch

        return torch.distributed.get_rank()
    return replica()


def replicas() -> int:
    """How many replicas share the batch of this step."""
    found = None if _ALONE.get() else _collectives()
    return 1 if found is None else found.count()


def are_threads() -> bool:
    """Whether the replicas are threads of this process."""
    return keras.backend.backend() == "tensorflow" and replicas() > 1


@contextlib.contextmanager
def alone():
    """Use no other replicas inside the context, since maybe only one of several processes runs the code."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def unscale(loss):
    """Undo the division by the number of TensorFlow replicas that Keras puts into a loss."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        count = tf.distribute.get_strategy().num_replicas_in_sync
        return loss * count if count > 1 else loss
    return loss


def sum_over_replicas(x, same_use=False) -> Any:
    """The sum of `x` over the replicas, with its gradient; `x` itself with one replica.

    Args:
        x: the tensor.
        same_use: whether all replicas compute the same number from the sum, and nothing else. Then the
            gradient needs no exchange. See `same_on_all`.
    """
    count = replicas()
    if count == 1:
        return x
    found = _collectives()

    def own(slopes):
        return count * slopes if same_use else found.sum_of(slopes)

    return found.with_gradient(x, found.sum_of, own)


def same_on_all(value) -> Any:
    """`value`, a scalar that all replicas compute from sums and rows of all.

    Its gradient is the mean of theirs. So each replica knows it, and computes the gradient of those sums and
    rows by itself, however the replicas use the scalar.
    """
    count = replicas()
    if count == 1:
        return value
    found = _collectives()
    return found.with_gradient(value, lambda value: value, lambda slopes: found.sum_of(slopes) / count)


def mean_over_replicas(*scalars) -> list:
    """The means of scalars over the replicas, in one exchange and without a gradient."""
    count = replicas()
    if count == 1:
        return list(scalars)
    found = _collectives().sum_of(ops.stop_gradient(ops.stack([ops.cast(s, "float32") for s in scalars])))
    return [found[i] / count for i in range(len(scalars))]


def gather(*xs, same_use=False) -> Any:
    """The rows of all replicas, with their gradient, of tensors with as many rows each.

    Args:
        *xs: the tensors.
        same_use: whether all replicas compute the same number from the rows. Then the gradient needs no
            exchange. See `same_on_all`.

    Returns:
        The tuple `(xs, kept, start)` with the rows of each tensor; which rows are real (None for all;
        the others are zeros, or False, that pad uneven splits); and the index of this replica's first row.
    """
    count = replicas()
    if count == 1:
        return list(xs), None, 0
    found = _collectives()
    layout = found.rows_like(xs[0])

    def own(slopes):
        return layout.own(count * slopes if same_use else layout.sum_of(slopes))

    rows = [found.with_gradient(x, layout.rows_of, own) for x in xs]
    return rows, layout.kept, layout.start


@contextlib.contextmanager
def own_rows():
    """Inside the context, a formula has only the rows of its own replica, and its sums over rows, taken by
    `_numerics`, are summed over the replicas."""
    token = _OWN_ROWS.set(True)
    try:
        yield
    finally:
        _OWN_ROWS.reset(token)


def has_own_rows() -> bool:
    """Whether the code runs inside `own_rows`."""
    return _OWN_ROWS.get()


def total(x, same_use=False) -> Any:
    """`x`, a sum over the rows that the formula has, as a sum over all rows."""
    return sum_over_replicas(x, same_use) if has_own_rows() else x


def largest(x) -> Any:
    """`x`, the largest of the rows that the formula has, as the largest of all rows; without a gradient."""
    return _collectives().largest_of(x) if has_own_rows() else x


def known(condition):
    """A condition that depends on numbers of rows: a bool where it can be known before the step continues."""
    return bool(condition) if keras.backend.backend() == "torch" else condition


def replicas_of(model) -> int:
    """How many TensorFlow replicas, or processes of torch, `model` trains on."""
    if keras.backend.backend() == "torch":
        return replicas()
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.num_replicas_in_sync if strategy is not None else 1
