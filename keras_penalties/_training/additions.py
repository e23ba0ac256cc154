"""What a layer adds to the loss, until the logs have counted it."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from keras import ops

from keras_penalties._keras import gradients, places, replicas, scopes, trainers


@dataclass(eq=False)
class Addition:
    """One addition to the loss.

    Attributes:
        loss: what was added. It is kept until the next pass: Keras distinguishes losses by their `id`, which
            Python could otherwise reuse.
        values: its values for the logs, by key.
        batch: the number of examples.
        place: where it was added, for `places.cannot_leave`.
        scoped: whether it was added in a stateless scope of Keras.
        on_gradient: a function to call when a gradient of it is taken, or None.
        given: what a reader of `losses` gets instead of `loss`.
        waiting: the keys that were read and still have to be counted by a metric.
    """

    loss: Any
    values: dict
    batch: Any
    place: Any
    scoped: bool
    on_gradient: Callable | None = None
    given: Any = None
    waiting: set = field(default_factory=set)


@dataclass
class _Thread:
    """The additions of one of TensorFlow's replicas, which are threads that share the layer.

    Attributes:
        scope: the stateless scope of the pass, as a weak reference, or None.
        current: the additions of this pass.
        earlier: the additions of earlier passes of this step that are not counted yet.
        graph: the graph or trace of the step, as a weak reference, or None.
        started: by key, the number of examples in the step, once a metric has counted it.
        missed: why something could not be added in this pass, or None.
    """

    scope: Any = None
    current: list[Addition] = field(default_factory=list)
    earlier: list[Addition] = field(default_factory=list)
    graph: Any = None
    started: dict = field(default_factory=dict)
    missed: str | None = None


class Additions:
    """What a layer adds to the loss, and what the metrics still have to count.

    A pass begins with each outermost call of a layer or model, and with each stateless scope of Keras. A step
    of `fit` or `evaluate` may have several passes; it ends when the result of a metric is read, or with its
    graph. In a user's own loop each pass is a step.

    A value is logged only after something reads it from `losses`, as a training step does. A plain `model(x)`
    logs nothing, and reads by callbacks are ignored. The metrics count it immediately where a variable can be
    assigned; otherwise, on JAX, when the result of the metric is read.

    Args:
        owner: the name of the layer in errors.
        averaged: the keys whose values are not summed in a step: strengths.
    """

    def __init__(self, owner, averaged=()):
        self.metrics: list = []
        self._owner, self._averaged = owner, frozenset(averaged)
        self._threads: dict[int, _Thread] = {}

    @property
    def _here(self) -> _Thread:
        return self._threads.setdefault(replicas.replica(), _Thread())

    @property
    def is_first(self) -> bool:
        """Whether nothing was added in this pass."""
        return not self._here.current

    @property
    def losses(self) -> list:
        """What was added in this pass, as a reader of `losses` gets it."""
        return [a.loss if a.given is None else a.given for a in self._here.current]

    def enter(self, scope) -> bool:
        """Begin a pass if `scope` is not the stateless scope of the last one; return whether it is new."""
        here = self._here
        if scope is (here.scope and here.scope()):
            return False
        self.end_pass()
        here.scope = None if scope is None else weakref.ref(scope)
        return True

    def end_pass(self):
        here = self._here
        here.earlier = [a for a in (*here.earlier, *here.current) if a.waiting and _belongs_here(a)]
        here.current, here.missed = [], None
        for addition in here.earlier:
            # They would keep everything that they were computed from in memory.
            addition.loss = addition.given = None
        if (here.earlier or here.started) and trainers.caller() == "own":
            here.earlier, here.started = [], {}

    def add(self, loss, values, batch, on_gradient=None):
        """Record what was added; `on_gradient` is called when a gradient of it is taken."""
        values = {key: ops.stop_gradient(value) for key, value in values.items()}
        scoped = scopes.stateless_scope() is not None
        self._here.current.append(Addition(loss, values, batch, places.place(), scoped, on_gradient))

    def miss(self, why: str):
        """Record that something could not be added in this pass: reading its losses raises an error."""
        if not scopes.is_symbolic():
            self.enter(scopes.stateless_scope())
            self._here.missed = why

    def count(self):
        """Count what was added in this pass, for an owner that reads it itself."""
        self._wait_for_metrics(self._here.current)

    def unscoped(self) -> list:
        """The losses of this pass that can be used outside of stateless scopes."""
        current = self._here.current
        for addition in current:
            if not (
                addition.scoped and scopes.graph() is None
            ):  # otherwise it is left over from an earlier step
                self._refuse_lost(addition)
        return [a.loss for a in current if scopes.can_use(a.loss)]

    def read(self, losses) -> list:
        """`losses`, as the reader gets them."""
        here, scope = self._here, scopes.stateless_scope()
        is_of_this_pass = scope is (here.scope and here.scope())
        if here.missed and is_of_this_pass and not scopes.is_symbolic() and trainers.caller() != "callback":
            raise ValueError(here.missed)
        found, new = {id(a.loss): a for a in here.current}, []
        for addition in (found[id(loss)] for loss in losses if id(loss) in found):
            self._refuse_lost(addition)
            if addition.given is None:
                new.append(addition)
                addition.given = gradients.watched(addition.loss, addition.on_gradient)
        if new:
            self._wait_for_metrics(new)
        return [found[id(loss)].given if id(loss) in found else loss for loss in losses]

    def _wait_for_metrics(self, additions):
        if scopes.is_symbolic() or trainers.caller() == "callback":
            return
        for addition in additions:
            addition.waiting = set(addition.values)
            # Processes have logs of their own, which show the same; TensorFlow's replicas share theirs.
            if not replicas.are_threads() and replicas.replicas() > 1:
                of_all = replicas.mean_over_replicas(addition.batch, *addition.values.values())
                addition.batch = of_all[0] * replicas.replicas()
                addition.values = dict(zip(addition.values, of_all[1:], strict=True))
        if scopes.may_assign():
            for metric in self.metrics:
                metric.update_state()

    def take(self, key) -> list:
        """What a metric has to count for `key`: the value, the number of examples, and whether it is the
        first value of the step, since the examples of a step are counted once."""
        here, graph = self._here, scopes.graph()
        if graph is not (here.graph and here.graph()):
            here.graph, here.started = None if graph is None else weakref.ref(graph), {}
        new = [a for a in (*here.earlier, *here.current) if key in a.waiting and _belongs_here(a)]
        for addition in new:
            addition.waiting.discard(key)
        if key in self._averaged:
            return [(a.values[key], a.batch, True) for a in new]
        if not new:
            return []
        first = key not in here.started
        batch = here.started.setdefault(key, new[0].batch)
        return [(sum((a.values[key] for a in new[1:]), start=new[0].values[key]), batch, first)]

    def end_step(self, key):
        self._here.started.pop(key, None)

    def forget(self, key):
        """Count nothing that was added before."""
        for thread in self._threads.values():
            thread.started.pop(key, None)
            for addition in (*thread.earlier, *thread.current):
                addition.waiting.discard(key)

    def _refuse_lost(self, addition):
        if places.cannot_leave(addition.place):
            raise ValueError(places.lost(self._owner))


def _belongs_here(addition):
    return all(scopes.belongs_here(value) for value in addition.values.values())
