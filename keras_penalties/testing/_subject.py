"""The penalty that is checked, measured on the inputs of a check and attached to a model."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_penalties._attach import penalize
from keras_penalties._keras.gradients import slopes
from keras_penalties._training.state import Learned
from keras_penalties.layers import ActivityPenalty
from keras_penalties.regularizers import BatchStatisticPenalty, Penalty

STRENGTH = 0.5


class Broken(Exception):
    """A rule is broken: what was expected, and what was received."""

    def __init__(self, expected, received):
        super().__init__(expected, received)
        self.expected, self.received = expected, received


@dataclass(frozen=True)
class Case:
    """What a penalty is measured on.

    Args:
        about: what the arrays are, for the message.
        xs: the arrays, in float64.
        masks: one mask for each array, or None.
        dtype: the dtype of the tensors.
    """

    about: str
    xs: list
    masks: Any = None
    dtype: str = "float32"

    def __str__(self):
        shapes = " and ".join(str(x.shape) for x in self.xs)
        mask = "" if self.masks is None else f" with a mask of shape {self.masks[0].shape}"
        return f"{self.about}, {self.dtype} of shape {shapes}{mask}"


class Subject:
    """A penalty and inputs for it.

    Args:
        penalty: the penalty.
        xs: the inputs, arrays of float64.
        about: what they are, for messages.

    Attributes:
        case: what was measured last, for the message.
        axis: the axis of the features.
    """

    def __init__(self, penalty: Penalty, xs: list, about: str):
        self.penalty, self.xs, self.about = penalty, xs, about
        self.case: Any = Case(about, xs)
        self._validate(self._tensors(self.case), None, penalty)
        if any(x.ndim < 2 for x in xs):
            raise ValueError(
                "`shape` and `inputs` of check_penalty must have a batch axis and a features axis at least. "
                f"Received: {', '.join(str(x.shape) for x in xs)}."
            )
        self.axis = penalty.axis if isinstance(penalty, BatchStatisticPenalty) else -1
        self.random = np.random.default_rng(0)
        self._learned = Learned(penalty.learned([x.shape for x in xs]), "learned").values
        self.learns = bool(self._learned)
        if penalty.counts_steps:
            self._learned["step"] = ops.zeros((), "int32")

    def measure(self, case, penalty=None) -> Any:
        """What `measure` returns, as a number of NumPy; also for a penalty that learns weights."""
        self.case = case
        return ops.convert_to_numpy(self._value(self._tensors(case), case.masks, penalty or self.penalty))[()]

    def gradients(self, case) -> list:
        """The gradient for each tensor."""
        self.case = case
        tensors = self._tensors(case)
        found = next(slopes(lambda _, xs: [self._value(xs, case.masks, self.penalty)], [], tensors))
        return [
            np.zeros(x.shape) if slope is None else ops.convert_to_numpy(slope)
            for x, slope in zip(case.xs, found, strict=True)
        ]

    def _tensors(self, case):
        rounded = "float64" if case.dtype == "float64" else "float32"
        return [ops.cast(ops.convert_to_tensor(x.astype(rounded)), case.dtype) for x in case.xs]

    def _value(self, tensors, masks, penalty):
        return penalty.measure_validated(*self._validate(tensors, masks, penalty), self._learned)

    @staticmethod
    def _validate(tensors, masks, penalty):
        if len(tensors) > 1:
            return penalty.validate(tensors, masks)
        return penalty.validate(tensors[0], None if masks is None else masks[0])

    def accepts(self, xs) -> bool:
        """Whether the penalty accepts these values."""
        try:
            for x in xs:
                self.penalty.refuse(x)
        except (TypeError, ValueError):
            return False
        return True

    def by_rows(self, x):
        """A view of `x` with the features on the last axis."""
        return np.moveaxis(x, self.axis, -1)

    def clone(self, strength=STRENGTH) -> Penalty:
        """The penalty made again from its config, with another strength if that is an argument."""
        config = self.penalty.get_config()
        if "strength" in config:
            config = {**config, "strength": strength}
        return type(self.penalty).from_config(config)

    @property
    def batch(self) -> list:
        """The inputs of the model: equally many rows of each array."""
        return [x[: min(len(x) for x in self.xs)].astype("float32") for x in self.xs]

    @cached_property
    def ways(self) -> list:
        """The ways to attach the penalty."""
        if len(self.xs) > 1:
            return ["ActivityPenalty"]
        argument = [] if self.learns or self.penalty.counts_steps else ["activity_regularizer="]
        return [*argument, "ActivityPenalty", "penalize"]

    @cached_property
    def model(self) -> keras.Model:
        """A model that returns its input, with the penalty attached in each of these ways.

        Its first layers have weights, so that a training step needs the gradient.
        """
        inputs = [keras.Input(x.shape[1:], dtype="float32") for x in self.batch]
        h: Any = [keras.layers.PReLU(alpha_initializer="ones", dtype="float32")(x) for x in inputs]
        h = h if len(h) > 1 else h[0]
        if "activity_regularizer=" in self.ways:
            h = keras.layers.Activation("linear", activity_regularizer=self.clone(), dtype="float32")(h)
        h = ActivityPenalty(self.clone(), name="layer")(h)
        if "penalize" not in self.ways:
            return keras.Model(inputs, h)
        h = keras.layers.Activation("linear", name="named", dtype="float32")(h)
        return penalize(keras.Model(inputs, h), {"named": self.clone()})

    def losses(self, model) -> list:
        """What each way adds to the loss, outside of a compiled step."""
        xs = [ops.convert_to_tensor(x) for x in self.batch]
        model(xs if len(xs) > 1 else xs[0])
        return [float(ops.convert_to_numpy(loss)) for loss in model.losses]
