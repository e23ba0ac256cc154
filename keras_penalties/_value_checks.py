"""Checks of values, which are known only outside a compiled step: once, on the first batch."""

import contextlib
import contextvars
from collections.abc import Callable, Sequence
from typing import Any, final

from keras_penalties._keras import scopes
from keras_penalties._types import Tensors

_UNCHECKED = contextvars.ContextVar("unchecked", default=False)


@contextlib.contextmanager
def unchecked():
    """Accept all values inside the context: `audit` gives a verdict on them instead."""
    token = _UNCHECKED.set(True)
    try:
        yield
    finally:
        _UNCHECKED.reset(token)


def are_unchecked() -> bool:
    """Whether the code runs inside `unchecked`."""
    return _UNCHECKED.get()


class ChecksFirstBatch:
    """A penalty or loss that checks the first batch whose values are known.

    A subclass defines `refuse`, which raises if NumPy arrays of these values are not valid.
    """

    refuse: Callable[..., Any]
    _has_checked_values = False

    @property
    def refuses_values(self) -> bool:
        """Whether there are values that it rejects."""
        return True

    @final
    def check_first_batch(self, *batches: Sequence[Tensors]) -> None:
        """Check the values of a batch, unless one was checked before.

        Args:
            *batches: the tensors of each call of `refuse`.
        """
        if self._has_checked_values or are_unchecked() or not self.refuses_values:
            return
        arrays = [[scopes.as_numpy(x) for x in batch] for batch in batches]
        if all(array is not None and array.size for batch in arrays for array in batch):
            for batch in arrays:
                self.refuse(*batch)
            self._has_checked_values = True
