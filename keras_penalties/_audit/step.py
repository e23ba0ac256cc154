"""One training step of a model, and what it shows about each penalty."""

import math
from collections import Counter
from dataclasses import replace

from keras import ops, tree

from keras_penalties._audit.evidence import Use, evidence_of, number
from keras_penalties._audit.recorder import Recorder
from keras_penalties._audit.sources import find_sources, needs_training
from keras_penalties._keras import gradients, steps
from keras_penalties._keras.masks import get_keras_mask
from keras_penalties._keras.scopes import as_numpy
from keras_penalties._keras.snapshots import Snapshot


class Step:
    """One training step, run several times. Each run starts from the same state, and restores it.

    Args:
        model: a built Keras model.
        make_batch: a function that returns a new copy of the batch, as inputs, labels and weights: a step may
            write into them.

    Attributes:
        rows: the number of examples in the batch.
        total: the loss, or None if only the model's own training step could compute it.
        main: the loss without the recorded additions, or None.
        own_step: the model's own method in place of Keras' training step, or an empty string.
        unchecked: why that method could not be run, or an empty string.
        untrained: by the id of each penalty layer that is called without `training`, where this happens:
            `"here"` or `"on JAX"`.
        evidence: a list of `Evidence`.
    """

    def __init__(self, model, make_batch):
        self._model, self._make_batch = model, make_batch
        self._sources, self._snapshot = find_sources(model), Snapshot(model)
        self.rows = len(tree.flatten(make_batch()[0])[0])
        self.total = self.main = None
        self.own_step, self.unchecked = steps.own_step(model), ""
        self.untrained, self._unknown, self._padding = {}, set(), {}
        self.evidence = list(self._evidence(self._uses()))

    def _recorder(self):
        return Recorder(self._sources)

    def _uses(self):
        if not self.own_step:
            return self._uses_in_keras_step()
        uses, error = [], None
        try:
            uses = self._uses_in_keras_step()
        except Exception as raised:  # such a model may have no `call`, or a loss that Keras does not know
            error = raised
        try:
            own = self._uses_in_own_step()
        except Exception as raised:
            if error is not None:
                raise error from raised
            self.unchecked = f"{type(raised).__name__}: {str(raised).strip().splitlines()[0]}"
            return uses
        uses = _merged(uses, own)
        if self.main is not None:
            self.total = self.main + sum(use.count * use.value for use in uses)
        return uses

    def _evidence(self, uses):
        found = {}
        for use in uses:
            found.setdefault(use.key, []).append(use)
        for source in self._sources:
            for i, penalty in enumerate(source.penalties):
                known = found.pop((id(source.layer), source.way, i), [])
                if known or source.way != "add_loss":
                    yield evidence_of(source, penalty, i, known, self._unknown, self._padding)
        for (_, _, i), known in found.items():
            yield evidence_of(known[0].addition.source, None, i, known, self._unknown, self._padding)

    # Keras' own step.

    def _uses_in_keras_step(self):
        model = self._model
        with self._snapshot, self._recorder() as recorder:
            total, additions = recorder.step(model, self._make_batch())
            self.total = number(total)
            self.untrained, self._unknown = dict.fromkeys(recorder.untrained, "here"), recorder.unknown
            self._padding = recorder.masks.padding_in(_without_mask(additions))
        counts, kept = self._counts(additions), self._kept_on_jax(additions)
        (_, of_main), *norms = self._norms(additions, counts)
        for origin in self._unknown & of_main.keys():
            # If the main loss does not depend on this tensor, this is only the rounding error of subtracting
            # the penalties.
            if of_main[origin] < 1e-10 * sum(squares[origin] for _, squares in norms):
                of_main[origin] = 0.0
        connected = self._connected(additions) if self.own_step else [True] * len(additions)
        uses = []
        for addition, count, on_jax, depends in zip(additions, counts, kept, connected, strict=True):
            for i, value in enumerate(addition.values):
                reaches, squares = norms.pop(0)
                uses.append(
                    Use(addition, i, number(value), count, on_jax, reaches, squares, of_main, depends)
                )
        self.main = self.total - sum(use.count * use.value for use in uses)
        return uses

    def _counts(self, additions):
        """How often the loss includes each addition: the derivative of the loss with respect to it."""
        with self._snapshot, self._recorder() as recorder:

            def step(_, offsets):
                return [recorder.step(self._model, self._make_batch(), offsets=offsets)[0]]

            (slopes,) = gradients.slopes(step, [], [ops.zeros(()) for _ in additions])
        return [0.0 if slope is None else round(number(slope), 3) for slope in slopes]

    def _kept_on_jax(self, additions):
        layers = [a.source.layer for a in additions if a.source.way != "HiddenOutputs"]
        twice = max(Counter(map(id, layers)).values(), default=0) > 1
        needs = {id(source.layer) for source in self._sources if needs_training(source)}
        if not twice and not needs:
            return [True] * len(additions)
        with self._snapshot, self._recorder() as recorder:
            kept = recorder.stateless_step(self._model, self._make_batch())
            self.untrained = dict.fromkeys(recorder.untrained, "on JAX") | self.untrained
        return kept if twice else [True] * len(additions)

    def _norms(self, additions, counts):
        """The gradients of the main loss, and of each penalty in each use: the norm over all weights, and the
        squared norm at each tensor, by origin."""
        tensors = {
            origin: x
            for addition in additions
            for origin, x in zip(addition.origins, addition.xs, strict=True)
            if origin is not None
        }
        weights = self._model.trainable_variables
        with self._snapshot, self._recorder() as recorder:

            def step(trainable, zeros):
                total, additions = recorder.step(
                    self._model, self._make_batch(), trainable, shifts=dict(zip(tensors, zeros, strict=True))
                )
                counted = zip(additions, counts, strict=True)
                penalties = sum(ops.cast(count * v, "float32") for a, count in counted for v in a.values)
                return [total - penalties, *(ops.cast(v, "float32") for a in additions for v in a.values)]

            found = []
            for slopes in gradients.slopes(step, weights, [ops.zeros_like(x) for x in tensors.values()]):
                squares = [_square(slope) for slope in slopes]
                at = dict(zip(tensors, squares[len(weights) :], strict=True))
                found.append((math.sqrt(sum(squares[: len(weights)])), at))
        return found

    def _connected(self, additions):
        """For each addition, whether it depends on the trainable weights, even with a gradient of zero."""
        found = set()

        def on_slope(place, slope):
            if number(ops.abs(slope)):
                found.add(place)

        with self._snapshot, self._recorder() as recorder:

            def step(trainable, _):
                _, additions = recorder.step(self._model, self._make_batch(), trainable, on_slope=on_slope)
                return [ops.sum(ops.cast(a.loss, "float32")) for a in additions]

            list(gradients.slopes(step, self._model.trainable_variables, []))
        return [place in found for place in range(len(additions))]

    # The model's own step.

    def _uses_in_own_step(self):
        unscaled = steps.without_loss_scale(self._snapshot.objects)
        with self._snapshot, unscaled:
            steps.build_for_own_step(self._model, *self._make_batch())
            with self._recorder() as recorder:
                values, counts = recorder.own_step(self._model, self._make_batch())
            additions = [_concrete(addition) for addition in recorder.additions]
            self._padding |= recorder.masks.padding_in(_without_mask(additions))
            self.untrained = dict.fromkeys(recorder.untrained, "here")
            return [
                Use(addition, i, values[place, i], count)
                for place, (addition, count) in enumerate(zip(additions, counts, strict=True))
                for i in range(len(addition.values))
            ]


def _without_mask(additions):
    """The tensors that were penalized without a mask. One that an `activity_regularizer=` penalized is not
    among them if Keras keeps a mask with it."""
    return [
        x
        for addition in additions
        for x, mask in zip(addition.xs, addition.masks, strict=True)
        if mask is None and (addition.source.way != "activity_regularizer" or get_keras_mask(x) is None)
    ]


def _concrete(addition):
    """`addition` without its tensors if they are JAX tracers, which have no values."""
    if all(as_numpy(x) is not None for x in addition.xs):
        return addition
    return replace(addition, xs=[], masks=[], origins=[])


def _merged(uses, own):
    """The uses in a model's own training step, with the gradients from Keras' step for each penalty that both
    steps use equally often."""
    by_key, own_by_key = {}, {}
    for group, of in ((by_key, uses), (own_by_key, own)):
        for use in of:
            group.setdefault(use.key, []).append(use)
    merged = []
    for key, found in own_by_key.items():
        known = by_key.pop(key, [])
        if len(known) == len(found):
            found = [
                replace(k, count=f.count if f.count or k.connected else k.count)
                for k, f in zip(known, found, strict=True)
            ]
        merged += found
    return merged + [replace(use, count=0.0) for known in by_key.values() for use in known]


def _square(slope):
    return 0.0 if slope is None else number(ops.sum(ops.square(ops.cast(slope, "float32"))))
