"""Checks of the first rows of arrays, before a step is compiled for them."""

import inspect

import keras
import numpy as np
from keras import ops, tree

from keras_penalties._keras import step_errors


def arguments_of(method, *args, **kwargs) -> dict:
    """The arguments that a call of Keras' `method` would get, by name."""
    return inspect.signature(method).bind_partial(*args, **kwargs).arguments


class FirstBatch:
    """Rejects batches from which the loss of `model` cannot be computed, once per kind of batch."""

    def __init__(self):
        self._kinds = set()

    def check(self, model, x, y, sample_weight=None, again=False, rows=32):
        """Raise if the first rows are not valid.

        Args:
            model: the model, which has `check_batch(x, y)` for values.
            x: inputs; nothing is checked unless they and the rest are arrays.
            y: labels.
            sample_weight: weights, or None.
            again: whether to check values again if a batch of this kind was checked.
            rows: how many rows to check.
        """
        first = _first_rows((x, y, sample_weight), rows)
        if first is None or y is None or not model.compiled:
            return
        kind = repr(tree.map_structure(_kind, first))
        is_new = kind not in self._kinds
        if is_new or again:
            model.check_batch(*first[:2])
        if is_new and not model.run_eagerly:  # an eager function may use what a graph does not have
            step_errors.try_loss(model, *first)
        self._kinds.add(kind)


def _first_rows(data, rows):
    """The first rows of arrays, or None if there are none, or if reading the data would consume it."""
    arrays = [a for a in tree.flatten(data) if a is not None]
    if not all(isinstance(a, np.ndarray) or ops.is_tensor(a) for a in arrays):
        return None
    lengths = [len(a) for a in arrays if len(a.shape)]
    if len(set(lengths)) > 1:
        raise ValueError(
            "Inputs, labels and weights must have the same number of rows. "
            f"Received: arrays of {', '.join(map(str, lengths))} rows."
        )
    if not all(lengths):
        return None
    return tree.map_structure(lambda a: None if a is None else _as_array(a[:rows]), data)


def _as_array(a):
    return a if isinstance(a, np.ndarray) else keras.ops.convert_to_numpy(a)


def _kind(a):
    return None if a is None else f"{a.dtype}{a.shape[1:]}"
