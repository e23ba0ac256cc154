"""One learned pattern that is added to every input."""

from typing import Any

import keras
from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Config, Tensors


@register
class UniversalPerturbation(keras.layers.Layer):
    r"""Adds one learned pattern, the same for every example, that stays within a bound.

    $$x + b\tanh(w)$$

    Args:
        bound: the largest change of an element, a finite float > 0, in the units of the input.
        value_range: a pair `(low, high)` that the result is clipped to, or None.
        initial: the pattern's standard deviation at the start, as a share of `bound`. With a pattern
            of zeros, input and result would be equal, and training could not distinguish them.
            Defaults to 0.1.
        **kwargs: `name=` and the other arguments of a Keras layer.

    Call arguments:
        inputs: a float tensor `(batch, ...)`; the result has its shape.

    Example:

    >>> import keras, numpy as np, keras_penalties as kp
    >>> layer = kp.layers.UniversalPerturbation(bound=0.5)
    >>> change = keras.ops.convert_to_numpy(layer(np.zeros((2, 3))))
    >>> change.shape, bool(np.all(np.abs(change) < 0.5))
    ((2, 3), True)

    Raises:
        TypeError: if `bound` or `initial` is not a number.
        ValueError: if `bound` is not positive; if `value_range` is not an increasing pair of
            numbers.

    Source: Moosavi-Dezfooli, Fawzi, Fawzi and Frossard, [Universal Adversarial
    Perturbations](https://arxiv.org/abs/1610.08401), CVPR 2017, for the idea of one pattern; Chen and Wu,
    Protect Your Deep Neural Networks from Piracy, WIFS 2018, for its use as a key. The `tanh` enforces the
    bound without projection.
    """

    def __init__(
        self,
        bound: float,
        value_range: tuple[float, float] | None = None,
        initial: float = 0.1,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.bound = _checks.number(bound, "bound", "UniversalPerturbation", above=0.0)
        self.initial = _checks.number(initial, "initial", "UniversalPerturbation", at_least=0.0)
        self.value_range = _checks.value_range(value_range, "UniversalPerturbation")

    def build(self, input_shape: Any) -> None:
        if any(n is None for n in input_shape[1:]):
            raise ValueError(
                "UniversalPerturbation needs an input whose shape after the batch is known. Received: shape "
                f"{tuple(input_shape)}. Give `keras.Input` all sizes."
            )
        self.pattern = self.add_weight(
            shape=tuple(input_shape[1:]),
            initializer=keras.initializers.RandomNormal(stddev=self.initial),
            name="pattern",
        )

    def call(self, inputs: Tensors) -> Tensors:
        result = inputs + ops.cast(self.bound * ops.tanh(self.pattern), inputs.dtype)
        return result if self.value_range is None else _numerics.clip(result, *self.value_range)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> Config:
        config = {"bound": self.bound, "value_range": self.value_range, "initial": self.initial}
        return {**super().get_config(), **config}
