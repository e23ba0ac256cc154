"""The hidden tensors of a `HiddenOutputs`, the gradients among them included."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_penalties._tensors.capture import Capture, inputs_of_call
from keras_penalties._tensors.forward_pass import ForwardPass, check_float
from keras_penalties._tensors.masks import mask_names
from keras_penalties._tensors.references import hidden_tensors, reference_to, to_config
from keras_penalties._types import Config
from keras_penalties.models._gradient import Directions, Gradient


class Hidden:
    """The argument `hidden`, and how its tensors are computed.

    Args:
        model: the wrapped model.
        hidden, mask_from: the arguments of `HiddenOutputs`.

    Attributes:
        names: the names of the hidden tensors, in the user's order.
        gradients: those that are gradients, by name.
        arguments: the keys of the two tensors of each gradient, by its name.
        tensors: by key, the tensors that are captured: the others, and those that only gradients need.
        inputs: by key, the arguments of `call` that are captured.
        directions: the random directions, by the name of the gradient.
    """

    def __init__(self, model, hidden, mask_from):
        gradients, others = _split(hidden)
        self.gradients: dict[str, Gradient] = gradients
        self.tensors = hidden_tensors(model, others)
        order = list(hidden) if isinstance(hidden, Mapping) else list(self.tensors)
        self.names = [name for name in order if name in gradients or name in self.tensors]
        self.arguments: dict[str, tuple[str, str]] = {}
        self.inputs: dict[str, str] = {}
        for name, gradient in gradients.items():
            of, wrt = (self._key(model, name, gradient, argument) for argument in ("of", "wrt"))
            self.arguments[name] = (of, wrt)
        self._check_arguments()
        self._refuse_masks_of_gradients(mask_from)
        self.mask_from = mask_names(mask_from, self.tensors, "hidden", "HiddenOutputs")
        self.directions = {n: Directions(g, n) for n, g in gradients.items() if g.is_random}
        self.is_differentiated = {of for of, _ in self.arguments.values()}

    def _key(self, model, name, gradient, argument) -> str:
        """The key of the tensor that `gradient` names by `argument`; it is captured if it is not a hidden
        tensor."""
        reference = getattr(gradient, argument)
        if isinstance(reference, str) and (reference in self.gradients or reference in self.tensors):
            return reference
        key = f"{name}.{argument}"
        if isinstance(reference, str) and reference in inputs_of_call(model):
            self.inputs[key] = reference
        else:
            self.tensors |= hidden_tensors(model, {key: reference})
        return key

    def _check_arguments(self):
        for name, (of, wrt) in self.arguments.items():
            if wrt in self.gradients:
                raise ValueError(
                    f"`wrt` of the Gradient '{name}' is {wrt!r}, which is a Gradient itself. Name a tensor "
                    "of the model."
                )
            seen = [name]
            while of in self.gradients:
                if of in seen:
                    raise ValueError(
                        f"The Gradients {', '.join(map(repr, seen))} are defined by each other. Let `of` of "
                        "one of them name a tensor of the model."
                    )
                seen.append(of)
                of = self.arguments[of][0]

    def _refuse_masks_of_gradients(self, mask_from):
        named = [key for key in mask_from if key in self.gradients] if isinstance(mask_from, Mapping) else []
        if named:
            raise ValueError(
                f"`mask_from` of HiddenOutputs has the key {named[0]!r}, which is a Gradient: it has the "
                "mask of its `wrt`. Give that tensor a name in `hidden`, and use this name in both places."
            )

    def capture(self, model) -> Capture:
        """A new capture of the tensors of `model`."""
        targets = frozenset(of for of, _ in self.arguments.values() if of not in self.gradients)
        differentiated = frozenset(wrt for _, wrt in self.arguments.values())
        return Capture(model, self.tensors, self.mask_from, self.inputs, targets, differentiated)

    def specs(self, capture: Capture) -> dict:
        """The hidden tensors as symbolic tensors, by name; None if the shape is not known yet."""
        found = capture.specs()

        def spec(key):
            if key not in self.gradients:
                return found[key]
            of, wrt = (spec(argument) for argument in self.arguments[key])
            if wrt is not None:
                check_float(wrt, self._text(self.arguments[key][1]))
            return self.gradients[key].spec(of, wrt)

        return {name: spec(name) for name in self.names}

    def of(self, forward: ForwardPass) -> tuple[dict, dict]:
        """The hidden tensors of a pass, and their masks, by name."""
        tensors = {name: self._tensor(forward, name) for name in self.names}
        return tensors, {name: self._mask(forward, name) for name in self.names}

    def _mask(self, forward: ForwardPass, key: str) -> Any:
        return forward.masks[self.arguments[key][1] if key in self.gradients else key]

    def _tensor(self, forward: ForwardPass, key: str) -> Any:
        if key not in self.gradients:
            return forward.tensors[key]
        if key not in forward.derived:
            forward.derived[key] = self._derivative(forward, key)
        return forward.derived[key]

    def _derivative(self, forward: ForwardPass, name: str):
        gradient, (of, wrt) = self.gradients[name], self.arguments[name]
        if gradient.is_random and name not in forward.vectors:
            training = forward.options.get("training")
            forward.vectors[name] = self.directions[name].draw(self._tensor(forward, of), training)
        vectors, mask = forward.vectors.get(name), self._mask(forward, of)
        slopes = forward.slopes(
            of,
            wrt,
            lambda forward: self._tensor(forward, of),
            lambda y: gradient.scalars(y, mask, vectors),
            is_used=name in self.is_differentiated,
        )
        missing = [i for i, slope in enumerate(slopes) if slope is None]
        if missing:
            feature = "" if len(slopes) == 1 else f"element {missing[0]} of "
            raise ValueError(
                f"The hidden tensor '{name}' is {gradient!r}, but {feature}{gradient.of!r} does not depend "
                f"on {gradient.wrt!r}, or only through operations without a gradient, such as `argmax`, "
                "`round` or `stop_gradient`."
            )
        return gradient.joined(slopes)

    def references(self) -> dict:
        """The reference of each hidden tensor, by its name."""
        found: dict[str, Any] = {n: reference_to(self.tensors[n]) for n in self.names if n in self.tensors}
        for name, gradient in self.gradients.items():
            of, wrt = (self._text(key) for key in self.arguments[name])
            found[name] = Gradient(**{**gradient.get_config(), "of": of, "wrt": wrt})
        return {name: found[name] for name in self.names}

    def _text(self, key):
        """A tensor as text: its name among the hidden tensors, or its reference."""
        return key if key in self.names else self.inputs.get(key) or reference_to(self.tensors[key])

    def config(self) -> Config:
        """`hidden` and `mask_from`, as JSON, with positions for names, which may be generated."""
        hidden = {name: self._config_of(name) for name in self.names}
        masks = {name: mask for name, mask in self.mask_from.items() if mask is not None}
        return {"hidden": hidden, **({"mask_from": masks} if masks else {})}

    def _config_of(self, name):
        if name not in self.gradients:
            return to_config(self.tensors[name])
        config = self.gradients[name].get_config()
        for argument, key in zip(("of", "wrt"), self.arguments[name], strict=True):
            known = key in self.names or key in self.inputs
            config[argument] = self._text(key) if known else to_config(self.tensors[key])
        saved = keras.saving.serialize_keras_object(Gradient(**config))
        saved.pop("shared_object_id", None)  # the `id` of an object that no longer exists
        return saved


def _split(hidden):
    """The gradients in `hidden`, by name, and the rest of it."""
    if not isinstance(hidden, Mapping):
        for item in hidden if isinstance(hidden, (list, tuple)) else ():
            if isinstance(item, Gradient):
                raise TypeError(
                    f"`hidden` contains {item!r} without a name. Use a dict: hidden={{'slope': {item!r}}}."
                )
        return {}, hidden
    gradients, others = {}, {}
    for name, value in hidden.items():
        if isinstance(value, Mapping) and "registered_name" in value:
            value = keras.saving.deserialize_keras_object(dict(value))
        (gradients if isinstance(value, Gradient) else others)[name] = value
    return gradients, others
