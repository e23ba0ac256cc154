"""Find the tensors of a model that names, patterns and classes refer to."""

from __future__ import annotations

import difflib
import inspect
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import keras

from keras_penalties._keras import layers as keras_layers
from keras_penalties._tensors.matching import matches, may_be_input, meant
from keras_penalties._tensors.names import Part, TensorName, parse
from keras_penalties._tensors.tree import Place, places_in
from keras_penalties.layers import ActivityPenalty

# Their outputs are those of the wrapped layer, or of the cell at each step.
LOOPS = (keras.layers.TimeDistributed, keras.layers.RNN)


@dataclass(frozen=True)
class Tensor:
    """A tensor that a name refers to.

    Attributes:
        place: the layer or operation.
        uses: which use of each layer in the path, as in `TensorName`; only the last one for a pattern or
            class.
        part: which of its tensors.
        name: the layer that the user meant, which may be inside the one at `place`.
        is_one_use: whether the user named a use.
        above: what the user calls the layers around it, the innermost last; only those in the user's name.
    """

    place: Place
    uses: tuple[int | None, ...]
    part: Part
    name: str
    is_one_use: bool = False
    above: tuple[str, ...] = ()

    @property
    def use(self) -> int | None:
        return self.uses[-1]


class Search:
    """Finds tensors in a model by name.

    Args:
        model: the model.
        argument, owner: where the names come from, for errors: "`hidden` of HiddenOutputs".
    """

    def __init__(self, model, argument: str, owner: str):
        self.model, self.argument, self.owner = model, argument, owner
        found = places_in(model)[1:]
        self.places = [place for place in found if not isinstance(place.operation, ActivityPenalty)]
        self.paths = {place.name for place in self.places}

    def reachable(self) -> list[Place]:
        """The layers whose output is accessible, itself or as that of the loop around it."""
        return [place for place in self.places if place.is_called_layer and self._is_reachable(place)]

    def named(self, key: str | type | None) -> list[tuple[Place, Part]]:
        """The layers that `key`, as in `all`, refers to, and which of their tensors; all layers for None."""
        if key is None:
            return [(place, Part()) for place in self.reachable()]
        self.all(key)
        name = self._parsed(key)
        return [(place, name.part if name else Part()) for place in self._places(key, name)]

    def _parsed(self, key: str | type) -> TensorName | None:
        return parse(key, self.argument, self.owner) if isinstance(key, str) else None

    def _is_reachable(self, place: Place) -> bool:
        try:
            self._reachable(place, Part(), None)
        except ValueError:
            return False
        return True

    def all(self, key: str | type) -> list[Tensor]:
        """Each tensor that `key`, a name, shell pattern or class, refers to: one for each place and use."""
        name = self._parsed(key)
        found = [tensor for place in self._places(key, name) for tensor in self._tensors(place, name)]
        if not found:
            raise ValueError(self._nothing(key, name))
        return found

    def one(self, key: str) -> Tensor:
        """The one tensor that the name `key` refers to."""
        name = parse(key, self.argument, self.owner)
        places = self._places(key, name)
        if not places:
            raise ValueError(self._nothing(key, name))
        operations = {id(place.operation) for place in places}
        in_graphs = {id(place.holder.operation) for place in places if place.calls}
        if len(operations) > 1 or len(in_graphs) > 1:
            raise ValueError(
                f"`{self.argument}` of {self.owner} names {key!r}, which several layers of "
                f"'{self.model.name}' match: {_some([p.name for p in places])}. Give the whole path of one."
            )
        return self._one(
            min(places, key=lambda place: len(place.path)), name
        )  # a layer held in several places

    def symbolic(self, tensor: keras.KerasTensor) -> Tensor:
        """The symbolic tensor `tensor` of a graph of the model."""
        for place in self.places:
            for use, outputs in place.calls:
                for index, output in enumerate(outputs):
                    if output is tensor:
                        above = [holder.calls for holder in reversed(place.holders)]
                        uses = tuple(calls[0][0] if calls else None for calls in above)
                        return Tensor(place, (*uses, use), Part("output", index), place.operation.name)
        raise ValueError(
            f"`{self.argument}` of {self.owner} contains the tensor {tensor}, on which no output of "
            f"'{self.model.name}' depends. Use a tensor of the same graph, or a layer's name."
        )

    def _places(self, key, name: TensorName | None) -> list[Place]:
        named = [place for place in self.places if may_be_input(place, name)]
        places = [place for place in named if matches(place, key, name)]
        if name is None:
            return places
        places = self._whole(places, name)
        if not places or (not name.is_pattern and all(place.is_named_by_keras for place in places)):
            held = [place for place in named if matches(place, key, name, by_attribute=True)]
            held = self._whole(held, name)
            self._refuse_both(places, held, name)
            places = places or held
        return places

    @staticmethod
    def _whole(places: list[Place], name: TensorName) -> list[Place]:
        """The place whose whole path is `name`, if `places` contain one; otherwise all of them."""
        whole = [place for place in places if len(place.path) == len(name.layers)]
        return (not name.is_pattern and whole) or places

    def _refuse_both(self, places: list[Place], held: list[Place], name: TensorName):
        """Reject a name that Keras generated for one layer, and that is the attribute of another."""
        other = next((p for p in held if all(p.operation is not place.operation for place in places)), None)
        if places and other is not None:
            raise ValueError(
                f"`{self.argument}` of {self.owner} has the name {name.text!r}, which is the attribute that "
                f"contains '{other.name}', but also the name that Keras generated for '{places[0].name}'. "
                "Give the layer that you mean a name of its own: `name=...`."
            )

    def _tensors(self, place: Place, name: TensorName | None):
        """The tensors of `place` that `name` refers to: one for each use of a graph, unless it names one."""
        part = name.part if name else Part()
        use = name.uses[-1] if name else None
        target, part = self._reachable(place, part, name)
        self._check(target, use, part, name)
        own = target.calls if target is place else place.calls or target.calls
        uses = sorted(number for number, _ in own) or [None]
        *above, called = meant(place, name)
        above = tuple(above) if target is place else ()
        for number in uses if use is None else [use]:
            yield Tensor(target, (number,), part, called, use is not None, above)

    def _one(self, place: Place, name: TensorName) -> Tensor:
        target, part = self._reachable(place, name.part, name)
        own = [p for p in [target, *target.holders]][::-1]
        given = (None,) * (len(own) - len(name.uses)) + name.uses[-len(own) :]
        uses = []
        for step, use in zip(own, given, strict=True):
            count = len(step.calls)
            if use is None and count > 1:
                choices = ", ".join(repr(f"{step.operation.name}@{i}") for i in range(count))
                raise ValueError(
                    f"`{self.argument}` of {self.owner} names {name.text!r}, but '{step.operation.name}' is "
                    f"used {count} times, so several tensors match. Say which use: {choices}."
                )
            self._check(step, use, part if step is target else Part(), name)
            uses.append(step.calls[0][0] if step.calls and use is None else use)
        return Tensor(target, tuple(uses), part, meant(place, name)[-1])

    def _check(self, place: Place, use: int | None, part: Part, name: TensorName | None):
        if not place.calls:
            return
        uses, count = [number for number, _ in place.calls], len(place.calls[0][1])
        scores = part == Part("output", 1) and count == 1 and gives_scores(place.operation)
        too_many = part.kind == "output" and (part.index or 0) >= count and not scores
        if (use is not None and use not in uses) or too_many:
            layer = place.operation.name
            raise ValueError(
                f"`{self.argument}` of {self.owner} names {name.text if name else layer!r}, but '{layer}' is "
                f"used {len(uses)} time(s) and returns {count} tensor(s) each time. Count both from 0: "
                f"'{layer}@0:0'."
            )

    def _reachable(self, place: Place, part: Part, name) -> tuple[Place, Part]:
        """`place`, or the place around it with the same tensor; raises if there is none."""
        for holder in self._obstacles(place):
            if keras_layers.is_rematerialized(holder.operation):
                raise ValueError(
                    f"`{self.argument}` of {self.owner} names '{place.name}', which is inside "
                    f"'{holder.name}': {type(holder.operation).__name__} is rematerialized, so its "
                    f"inner tensors exist only while it runs. Name '{holder.name}' itself."
                )
            return self._of_loop(place, holder, part)
        if part.kind == "preactivation":
            _check_activation(place, self.argument, self.owner)
        return place, part

    @staticmethod
    def _obstacles(place: Place) -> list[Place]:
        """The layers around `place` that make its tensors inaccessible, the outermost first."""
        return [
            holder
            for holder in reversed(place.holders)
            if keras_layers.is_rematerialized(holder.operation) or isinstance(holder.operation, LOOPS)
        ]

    def _of_loop(self, place: Place, loop: Place, part: Part) -> tuple[Place, Part]:
        wrapper, inner = loop.operation, place.operation
        directly = place.holder is loop and part.kind != "preactivation"
        if directly and isinstance(wrapper, keras.layers.TimeDistributed):
            return loop, part
        if directly and part == Part() and wrapper.cell is inner and wrapper.return_sequences:
            return loop, part
        raise ValueError(
            f"`{self.argument}` of {self.owner} names '{place.name}'{part if part.kind != 'output' else ''}, "
            f"which is inside '{loop.name}': {type(wrapper).__name__} runs it in a loop over time. Name "
            f"'{loop.name}' itself; its output is that of the layer at each step, for a cell if it has "
            "return_sequences=True."
        )

    def _nothing(self, key, name: TensorName | None) -> str:
        text = f"`{self.argument}` of {self.owner} has the name {quoted(key)}, which matches no layer of"
        text += f" '{self.model.name}'."
        layers = [place for place in self.places if place.is_called_layer]
        if name is None:
            classes = Counter(type(place.operation).__name__ for place in layers)
            return f"{text} It has {', '.join(f'{count} {c}' for c, count in classes.most_common(12))}."
        names = [place.name for place in layers]
        names += ["/".join([*place.path[:-1], a]) for place in layers for a in place.attributes]
        if key in self.paths:
            return f"{text} It is an input. Name a layer instead."
        wanted = name.path.translate(str.maketrans("", "", "*?[]"))
        near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
        ends = {name.rsplit("/", 1)[-1]: name for name in reversed(names)}
        last = wanted.rsplit("/", 1)[-1]
        near += [ends[end] for end in difflib.get_close_matches(last, ends, n=3, cutoff=0.5)]
        near = list(dict.fromkeys(near))[:3]
        hint = f"It has {_some(place.name for place in layers)}."
        if near:
            hint = f"Did you mean {' or '.join(map(repr, near))}?"
        return f"{text} {hint} `kp.list_tensors(model)` lists the names."


def _check_activation(place: Place, argument: str, owner: str):
    layer = place.operation
    if not callable(getattr(layer, "activation", None)) or isinstance(layer, keras.layers.RNN):
        raise ValueError(
            f"`{argument}` of {owner} names '{place.name}:preactivation', but {type(layer).__name__} has no "
            f"`activation` of its own. Name '{place.name}', or '{place.name}:input'."
        )


def gives_scores(layer) -> bool:
    """Whether `layer` can return its attention scores, as its second output."""
    call = getattr(layer, "call", None)
    return call is not None and "return_attention_scores" in inspect.signature(call).parameters


def quoted(key) -> str:
    return key.__name__ if isinstance(key, type) else repr(key)


def _some(names: Iterable[str], most: int = 12) -> str:
    names = list(names)
    return ", ".join(map(repr, names[:most])) + (", ..." if len(names) > most else "")
