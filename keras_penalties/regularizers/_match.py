"""Two tensors that should agree, by any Keras loss."""

import warnings
from collections.abc import Callable
from typing import Literal, Self

import keras
from keras import ops

from keras_penalties import _checks, _numerics, _returned, _serialization
from keras_penalties._keras.losses import serialize_loss
from keras_penalties._serialization import register
from keras_penalties._types import Config, Shapes, Tensor, Tensors
from keras_penalties.regularizers._families import common_mask, mean_of_kept, same_shape
from keras_penalties.regularizers._match_losses import (
    can_be_saved,
    check,
    name_of,
    not_saved,
    of_logits,
    of_tensors,
    refuse_logits,
)
from keras_penalties.regularizers._penalty import Penalty
from keras_penalties.schedules._strength import Strength


@register
class Match(Penalty):
    r"""A Keras loss between two tensors that should agree.

    $$\frac{1}{N}\sum_n L(b_n, a_n)\quad\text{or, with a temperature,}\quad
    \frac{T^2}{N}\sum_n L\left(\operatorname{softmax}(b_n / T),\, \operatorname{softmax}(a_n / T)\right)$$

    The first tensor is the prediction \(a\) and the second the target \(b\): a student and its teacher, for
    example, in the same order as for `Hint`. Keras' losses take the target first: `loss(b, a)`. The mean is
    over all values that the loss returns, one per example or per position, as in Keras.

    | method | arguments |
    |---|---|
    | feature matching | `"mean_squared_error"` or `"mean_absolute_error"`, `detach="second"` |
    | SimSiam | `"cosine_similarity"`, `detach="second"`, once for each view |
    | knowledge distillation | `"kl_divergence"`, `detach="second"`, `temperature=4.0` |
    | consistency of two predictions | `"kl_divergence"` or `"mean_squared_error"`, `temperature=1.0` |

    Args:
        strength: the factor on the penalty: a finite float >= 0, a schedule or a `Target`.
        loss: the name of a Keras loss, a `keras.losses.Loss` whose reduction is a mean, or a registered
            function of `(y_true, y_pred)` that returns one value per example or per position.
            Defaults to `"mean_squared_error"`.
        detach: the tensor that gets no gradient: `"first"`, `"second"` (a fixed target), or None.
        temperature: \(T\), a finite float > 0; both tensors are then logits. None compares them as they are.
            Use it with `"kl_divergence"` or `"categorical_crossentropy"`: the factor \(T^2\) makes their
            gradient depend little on \(T\), and with a fixed target both have the same gradient. These two
            are computed from the logits, without the clipping that Keras applies to probabilities. Other
            losses get the probabilities.

    Shapes: a list of two tensors of the same shape `(batch, ..., features)`, any float type. The result is a
    float32 scalar in the units of the loss. It is negative if the loss is: `"cosine_similarity"` gives -1 for
    equal directions. A position that either mask drops does not count.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> a, b = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 0.0], [4.0, 2.0]])
    >>> # ((4 + 0) / 2 + (16 + 0) / 2) / 2
    >>> float(kp.regularizers.Match(1.0).measure([a, b]))
    5.0
    >>> simsiam = kp.regularizers.Match(0.5, "cosine_similarity", detach="second")
    >>> round(float(simsiam.measure([a, b])), 6)  # -(1 + 2 / 20**0.5) / 2
    -0.723607
    >>> soft = kp.regularizers.Match(1.0, "kl_divergence", detach="second", temperature=2.0)
    >>> round(float(soft.measure([np.array([[0.0, 0.0]]), np.array([[2.0, 0.0]])])), 6)
    0.443776

    Raises:
        TypeError: if `strength` or `temperature` is not a number; if `loss` is no name, loss or function.
        ValueError: if `strength` is negative or not finite; if `temperature` is not positive; if `detach` is
            not one of the values above; if the loss is unknown, is a lambda, needs labels or a state, has a
            reduction that is not a mean, or takes logits while a temperature is given; if the shapes differ;
            if the loss returns one number for the whole batch.

    Source: Hinton, Vinyals and Dean, [Distilling the Knowledge in a Neural
    Network](https://arxiv.org/abs/1503.02531), 2015, section 2; Chen and He, [Exploring Simple Siamese
    Representation Learning](https://arxiv.org/abs/2011.10566), CVPR 2021, algorithm 1; Salimans et al.,
    [Improved Techniques for Training GANs](https://arxiv.org/abs/1606.03498), NIPS 2016, section 3.1;
    Tarvainen and Valpola, [Mean Teachers are Better Role Models](https://arxiv.org/abs/1703.01780), NIPS
    2017. Keras' gradient of `"cosine_similarity"` at a row of zeros is NaN on JAX and PyTorch, and that of
    `"mean_absolute_error"` at equal numbers is not 0 on JAX; here both are 0. The gradients of other losses
    are those of Keras.
    """

    tensors = 2

    def __init__(
        self,
        strength: Strength,
        loss: str | keras.losses.Loss | Callable = "mean_squared_error",
        detach: Literal["first", "second"] | None = None,
        temperature: float | None = None,
    ):
        super().__init__(strength)
        self.loss = check(loss, self._owner)
        self.detach = detach
        if detach is not None:
            self.detach = _checks.choice(detach, "detach", self._owner, ("first", "second"))
        self.temperature = temperature
        if temperature is not None:
            self.temperature = _checks.number(temperature, "temperature", self._owner, above=0.0)
            refuse_logits(self.loss, self._owner)
        if not can_be_saved(self.loss):
            message = f"{not_saved(self.loss, self._owner)} Without it, a model trains but cannot be saved."
            warnings.warn(message, stacklevel=self._lines_above())

    def check_shapes(self, shapes: Shapes) -> None:
        same_shape(self._owner, shapes)

    def value(self, x: Tensors, mask: Tensors) -> Tensor:
        kept = common_mask(mask)
        prediction, target = (_numerics.keep(t, kept) for t in x)
        if self.detach == "first":
            prediction = ops.stop_gradient(prediction)
        if self.detach == "second":
            target = ops.stop_gradient(target)
        values = self._values(target, prediction)
        if kept is not None and len(kept.shape) > len(values.shape):
            raise ValueError(
                f"`mask` of {self._owner} must have one value per example, as {name_of(self.loss)} has. "
                f"Received: a mask of shape {tuple(kept.shape)} for values of shape {tuple(values.shape)}."
            )
        return mean_of_kept(values, kept)

    def _values(self, target, prediction):
        """One value per example, or per position."""
        if self.temperature is None:
            values = of_tensors(self.loss)(target, prediction)
        else:
            t = self.temperature
            values = t**2 * of_logits(self.loss)(target / t, prediction / t)
        source, expected = f"`loss` of {self._owner}", "one value per example or per position"
        values = _returned.floats(values, source, expected)
        rank = len(values.shape)
        if not 1 <= rank <= len(prediction.shape):
            raise ValueError(
                f"{source} must return {expected}. Received from {name_of(self.loss)}: shape "
                f"{tuple(values.shape)}, for tensors of shape {tuple(prediction.shape)}. A mean over the "
                "features is `ops.mean(..., axis=-1)`."
            )
        return _returned.floats_of_shape(values, ops.shape(prediction)[:rank], source, expected, prediction)

    def get_config(self) -> Config:
        if not can_be_saved(self.loss):
            raise ValueError(not_saved(self.loss, self._owner))
        config = super().get_config()
        if not isinstance(self.loss, str):
            config["loss"] = serialize_loss(self.loss)
        return config

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return _serialization.made(cls, config, "strength", "loss")
