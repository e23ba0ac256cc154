"""A forward pass of a model, and the tensors that were captured in it."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from keras import ops

from keras_penalties import _numerics
from keras_penalties._keras import recordings, scopes

_local = threading.local()


class ForwardPass:
    """A forward pass, which runs when it is created.

    Args:
        capture: the `Capture` whose model runs.
        inputs: the inputs.
        options: the keyword arguments of the call.
        repeats: the pass that this one repeats, or None.
        shifts: what this repetition adds to captured tensors, by key.

    Attributes:
        outputs: the outputs of the model.
        tensors: the captured tensors, by key.
        masks: their masks, by key.
        derived: tensors that were computed from them, by name.
        vectors: the random vectors for them, by name; those of the pass that this one repeats.
    """

    outputs: Any
    tensors: dict[str, Any]

    def __init__(
        self, capture, inputs, options: dict, repeats: ForwardPass | None = None, shifts: dict | None = None
    ):
        self.capture, self.inputs, self.options = capture, inputs, options
        self._repeats, self._shifts = repeats, shifts or {}
        self.vectors: dict[str, Any] = {} if repeats is None else repeats.vectors
        self.derived: dict[str, Any] = {}
        self._captured: dict[str, list] = {}
        self.recording: Any = None
        if capture.differentiated and not scopes.is_symbolic():
            self.recording = recordings.recording(capture.tapped)
        with _running(self), contextlib.nullcontext() if self.recording is None else self.recording.open():
            self.outputs = capture.tapped(capture.received(inputs, self), **options)
        self._uses = {key: capture.use(key, self._captured.get(key, [])) for key in capture.keys}
        found = {key: self._captured[key][use] for key, use in self._uses.items()}
        self.tensors = {key: pair[0] for key, pair in found.items()}
        self.masks = {key: pair[1] for key, pair in found.items()}
        if self.recording is not None and repeats is None:
            self.recording.begin(self)

    def receive(self, key: str, x, mask):
        """Capture `x` under `key`, and return the tensor with which the pass continues."""
        uses = self._captured.setdefault(key, [])
        if self.recording is not None and key in self.capture.differentiated:
            check_float(x, key)
            x = self.recording.marked(x, self._shift(key, len(uses)))
        uses.append((x, mask))
        return x

    def _shift(self, key: str, use: int):
        """What is added to a use of the tensor `key`, by this repetition and those around it, or None."""
        if self._repeats is None:
            return None
        outer, own = self._repeats._shift(key, use), self._shifts.get(key)
        if own is None or use != self._repeats._uses[key]:
            return outer
        return own if outer is None else outer + own

    def repeated(self, shifts: dict) -> ForwardPass:
        """The same pass, with `shifts` added to tensors, by key."""
        return ForwardPass(self.capture, self.inputs, self.options, self, shifts)

    def slopes(self, of: str, wrt: str, target, scalars, is_used: bool) -> list:
        """The derivatives of scalars with respect to the tensor `wrt`, with None for those that have none.

        Args:
            of, wrt: keys of tensors.
            target: a function that returns the tensor `of` of a pass.
            scalars: a function that computes a list of scalars from the tensor `of`.
            is_used: whether the derivatives will be differentiated again.
        """
        if scopes.is_symbolic():
            return [ops.zeros_like(self.tensors[wrt]) for _ in scalars(target(self))]
        return self.recording.slopes(self, of, wrt, target, scalars, is_used)


def check_float(x, key: str):
    """Reject what has no derivative; `key` names it in the error."""
    if isinstance(x, (list, tuple)) or not _numerics.is_float(x.dtype):
        kind = "several tensors" if isinstance(x, (list, tuple)) else f"a tensor of type {x.dtype}"
        raise ValueError(
            f"A Gradient can be taken only with respect to one float tensor, but '{key}' is {kind}. Name a "
            "float tensor after it, such as the output of an Embedding or a Rescaling layer."
        )


def current() -> list[ForwardPass]:
    """A list with the pass that runs on this thread; empty while no pass runs."""
    return getattr(_local, "stack", [])[-1:]


@contextlib.contextmanager
def _running(forward):
    stack = _local.__dict__.setdefault("stack", [])
    stack.append(forward)
    try:
        yield
    finally:
        stack.pop()
