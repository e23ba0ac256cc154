"""The base class of all penalties."""

import sys
import warnings
from typing import Any, Self, final

import keras
from keras import ops

from keras_penalties import _checks, _numerics, _returned, _serialization
from keras_penalties._keras import activations, places, releases, sizes
from keras_penalties._types import Config, Shapes, Tensor, Tensors
from keras_penalties._value_checks import ChecksFirstBatch, are_unchecked
from keras_penalties.regularizers import _overrides
from keras_penalties.schedules import _strength
from keras_penalties.schedules._strength import Strength


class Penalty(_serialization.Keywords, keras.regularizers.Regularizer, ChecksFirstBatch):
    """The base class of all penalties, which measure how far a hidden layer is from what it should do.

    `strength * measure(x)` is added to the loss, however the penalty is attached, on every Keras release and
    backend. To write your own penalty, subclass `PerExamplePenalty` or `BatchStatisticPenalty` and define one
    method. If neither fits, subclass `Penalty` and define `value(x, mask)`.

    So that models with the penalty can be saved and loaded, put `@keras.saving.register_keras_serializable`
    above the class, and store each argument of `__init__` as an attribute of the same name.

    Args:
        strength: the factor on the penalty, a finite float >= 0. In a layer or model of this package, it may
            change over time: it is then any `keras.optimizers.schedules` object, or a
            `keras_penalties.schedules.Target`.

    Attributes:
        tensors: the number of tensors that the penalty compares. With two or more, `measure` takes a list.
        masks_elements: whether a mask may drop single features of a row, such as single keys of attention
            scores. If True, `value` also gets masks of `x`'s whole shape. If False, the default, such a mask
            raises an error.
        counts_steps: whether the formula needs the number of training steps. If True, the layer or model that
            owns the penalty counts them, and `with_learned` gets the count as `learned["step"]`. `measure`
            alone has no count. Defaults to False.
        parts: the names of the terms of the penalty, if the logs should show them separately. `value` then
            returns a dict of them.
        outside_0_and_1: for a penalty that accepts only values between 0 and 1, a sentence on what to do
            about other values, which is part of the error. None if all values are valid.

    Raises:
        TypeError: if `strength` is neither a number nor a schedule; if the tensor is not of floats; if the
            penalty is used on weights, as `kernel_regularizer=` for example; if it needs a layer or model of
            this package and is used as `activity_regularizer=`; if a formula does not return floats. Also
            when you define a subclass that overrides `measure`, or whose formula would never be called.
        ValueError: if `strength` is negative, infinite or NaN; if a shape does not fit; if a formula returns
            another shape than it should.
    """

    # The methods that may contain the formula, each of which calls the next unless it is overridden; and how
    # messages list them.
    _formulas: tuple = ("value",)
    _formula_methods = (
        "`value(x, mask)`, or subclass `PerExamplePenalty` and define `elements(x)`, or "
        "`BatchStatisticPenalty` and define `statistic(rows, weights)`"
    )
    tensors = 1
    masks_elements = False
    counts_steps = False
    parts: tuple = ()
    outside_0_and_1: Any = None  # or a property
    _warned = False
    has_owner = False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        _overrides.check(cls)

    def __init__(self, strength: Strength):
        self.strength = strength
        if not _serialization.is_registered(type(self)):
            warnings.warn(
                f"{self._owner} is not registered, so a model that uses it trains but cannot be saved. "
                f"Put `@keras.saving.register_keras_serializable(package='my_project')` above "
                f"`class {self._owner}`.",
                stacklevel=self._lines_above(),
            )

    @property
    def strength(self) -> Any:
        """The factor on the penalty. You may assign it; then compile the model again, as after any change of
        a layer's attribute."""
        return self._strength

    @strength.setter
    def strength(self, value):
        value = _strength.check(value, self._owner)
        if self.has_owner:
            _strength.check_kind(value, self._strength, self._owner)
        self._strength = value

    @final
    def _lines_above(self) -> int:
        """The stack level of the line that creates this penalty, above the `__init__` of subclasses."""
        level, frame = 2, sys._getframe(2)
        while frame is not None and frame.f_locals.get("self") is self:
            level, frame = level + 1, frame.f_back
        return level

    @property
    def _features(self) -> int:
        """The axis of the features."""
        return -1

    @property
    @final
    def _owner(self) -> str:
        return type(self).__name__

    def value(self, x: Tensors, mask: Tensors) -> Tensor:
        """The published formula, without the strength.

        Args:
            x: a tensor, float32 or float64, the batch first and the features last, with zeros where `mask`
                drops something; a list of them if the penalty compares several.
            mask: booleans of `x`'s shape without the features, or a prefix of that; or None. If the penalty
                sets `masks_elements`, also booleans of `x`'s whole shape.
        """
        raise NotImplementedError(f"{self._owner} has no formula. Define {self._formula_methods}.")

    @final
    def measure(self, x: Tensors, mask: Tensors = None) -> Tensor:
        """The penalty of `x` without its strength: a float32 scalar (float64 for float64 input).

        Args:
            x: a float tensor or array whose first axis is the batch; a list of them if the penalty compares
                several.
            mask: booleans, True for what counts. They have `x`'s shape without the features, or a prefix of
                that; or as many axes as `x`, and may broadcast, as for attention scores. Masked elements
                contribute nothing. A list of masks if `x` is a list.
        """
        xs, masks = self.validate(x, mask)
        if self.learned([tuple(t.shape) for t in xs]):
            raise ValueError(
                f"{self._owner} learns weights, which belong to the layer or model that owns the penalty, so "
                "`measure` cannot compute its value. Read the value in the logs of that model."
            )
        return self.measure_validated(xs, masks)

    def learned(self, shapes: Shapes) -> dict:
        """The weights that the penalty learns: by name, arguments of `add_weight`. Its owner creates them."""
        return {}

    def with_learned(self, xs: list, learned: dict) -> list:
        """The tensors to compare, computed from `xs` and the learned weights, by name."""
        return xs

    def refuse(self, x: Tensors) -> None:
        """Raise if the values of `x`, a NumPy array, are not valid. Called once per penalty, where values are
        known: outside a compiled step."""
        if self.outside_0_and_1 is not None:
            _checks.unit_interval(x, "x", self._owner, self.outside_0_and_1)

    @final
    def warn_of(self, operation: Any) -> None:
        """Warn if the penalty is on a layer or operation whose values it does not accept. In a compiled step
        values are unknown, but the activation is known in advance."""
        if self.outside_0_and_1 is None or self._warned or are_unchecked():
            return
        activation = activations.beyond_0_and_1(operation)
        if activation is not None:
            self._warned = True
            warnings.warn(
                f"{self._owner} measures values between 0 and 1, but '{operation.name}' ends in "
                f"{activation}, whose values may be outside. {self.outside_0_and_1}",
                stacklevel=2,
            )

    @property
    def refuses_values(self) -> bool:
        return type(self).refuse is not Penalty.refuse or self.outside_0_and_1 is not None

    @final
    def validate(self, x: Tensors, mask: Tensors = None) -> tuple[list, list]:
        """Reject what cannot be measured; return tensors and masks in lists of equal length."""
        xs = self.as_list(x)
        masks = list(mask) if isinstance(mask, (list, tuple)) else [mask] * len(xs)
        if len(masks) != len(xs):
            raise ValueError(
                f"`mask` of {self._owner} must be one mask for each of the {len(xs)} tensors, or None. "
                f"Received {len(masks)} masks."
            )
        for i in range(len(xs)):
            index = f"[{i}]" if len(xs) > 1 else ""
            t = xs[i] = _checks.as_tensor(xs[i], self._owner, f"x{index}")
            m = masks[i] = (
                None if masks[i] is None else _checks.as_tensor(masks[i], self._owner, f"mask{index}")
            )
            _checks.tensor(t, self._owner, f"x{index}", axis=self._features)
            options = {"axis": self._features, "elements": self.masks_elements}
            _checks.mask(m, t.shape, self._owner, f"mask{index}", **options)
        self.check_shapes([tuple(t.shape) for t in xs])
        return xs, masks

    def check_shapes(self, shapes: Shapes) -> None:
        """Raise if tensors of these shapes cannot be measured; unknown sizes are None."""

    @final
    def measure_validated(self, xs: list, masks: list, learned: dict | None = None) -> Tensor:
        value = self.measured_parts(xs, masks, learned)
        return sum(value.values()) if isinstance(value, dict) else value

    @final
    def measured_parts(self, xs: list, masks: list, learned: dict | None = None) -> Any:
        """What `value` returns: a scalar, or a dict of them."""
        xs = [self._prepare(t) for t in xs]
        masks = [self._prepare_mask(m, t) for m, t in zip(masks, xs, strict=True)]
        xs = [_numerics.keep(t, m) for t, m in zip(xs, masks, strict=True)]
        self.check_first_batch(*([x] for x in xs))
        compared = self.with_learned(xs, learned or {})
        received = len(compared) if isinstance(compared, (list, tuple)) else type(compared).__name__
        if received != len(xs):
            raise ValueError(
                f"`with_learned(xs, learned)` of {self._owner} must return a list of {len(xs)}: one tensor "
                f"for each that it was given. Received: {received}."
            )
        value = self.value(list(compared), masks) if len(xs) > 1 else self.value(compared[0], masks[0])
        return _returned.scalar(value, f"`value(x, mask)` of {self._owner}", self.parts, compared[0])

    @final
    def __call__(self, x: Tensors) -> Tensor:
        """What Keras calls for `activity_regularizer=`: `strength * measure(x)`, times the batch
        size on Keras releases that divide by it afterwards. Call `measure` for the number itself."""
        if isinstance(x, keras.Variable):
            raise TypeError(
                f"{self._owner} penalizes what a layer does, not its weights: it cannot be a "
                f"`kernel_regularizer`, `bias_regularizer` or similar. Received the variable '{x.path}'. "
                "Pass it as `activity_regularizer=`, or use one of `keras.regularizers` for the weights."
            )
        moves = _strength.is_moving(self.strength)
        if moves or self.counts_steps:
            kind = f"has a strength that changes ({type(self.strength).__name__})"
            raise TypeError(
                f"{self._owner} {kind if moves else 'changes with each training step'}, but an "
                "`activity_regularizer=` cannot count training steps. Put "
                f"`keras_penalties.layers.ActivityPenalty({self._owner}(...))` after the layer instead."
            )
        if places.is_recomputed():
            raise ValueError(places.lost(f"A layer with `activity_regularizer={self._owner}(...)`"))
        value = _numerics.as_loss(self.strength * self.measure(x))
        if self.outside_0_and_1 is not None and not self._has_checked_values:
            self.warn_of(activations.calling_layer())
        if releases.KERAS_DIVIDES_BY_BATCH:
            value = value * ops.cast(sizes.size(x), value.dtype)
        return value

    def get_config(self) -> Config:
        if not _serialization.is_registered(type(self)):
            raise ValueError(
                f"{self._owner} cannot be saved: it is not registered, so a file that names it could not be "
                f"loaded. Put `@keras.saving.register_keras_serializable(package="
                f"'my_project')` above `class {self._owner}`."
            )
        config = _serialization.kept_arguments(self)
        if _strength.is_moving(self.strength):
            config["strength"] = keras.saving.serialize_keras_object(self.strength)
        return config

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return _serialization.made(cls, config, "strength")

    @final
    def as_list(self, x: Tensors) -> list[Tensor]:
        """`x` as a list of as many tensors as the penalty compares."""
        wanted = self.tensors if isinstance(self.tensors, tuple) else (self.tensors,)
        several = isinstance(x, (list, tuple)) and (1 not in wanted or any(hasattr(t, "shape") for t in x))
        count = len(x) if several else 1
        if count in wanted and several == (count > 1):
            return list(x) if several else [x]
        got = f" a list of {len(x)}" if isinstance(x, (list, tuple)) else f": {type(x).__name__}"
        what = f"compares {' or '.join(map(str, wanted))} tensors and takes them as a list. Received{got}."
        what = f"measures one tensor. Received{got}. Measure each separately." if wanted == (1,) else what
        raise ValueError(f"{self._owner} {what}")

    @final
    def _prepare(self, x):
        x = _numerics.accumulate(x)
        x = x[:, None] if len(x.shape) == 1 else x
        return x if self._features == -1 else ops.moveaxis(x, self._features, -1)

    @final
    def _prepare_mask(self, mask, x):
        """`mask` in booleans as `value` takes it, for a prepared `x`."""
        if mask is None:
            return None
        mask = _numerics.booleans(mask)
        if len(mask.shape) < len(x.shape):
            return mask
        if self._features != -1:
            mask = ops.moveaxis(mask, self._features, -1)
        if mask.shape[-1] == 1:  # whole rows
            return _numerics.positions(mask[..., 0], x)
        return ops.logical_and(mask, ops.ones_like(x, dtype="bool"))
