"""A layer that returns its input, and reverses the sign of the gradient."""

import weakref
from collections.abc import Callable
from typing import Any, Self

import keras
from keras import ops

from keras_penalties import _checks
from keras_penalties._keras import replicas, scopes
from keras_penalties._keras.hooks import LayerWithLosses
from keras_penalties._serialization import made, register
from keras_penalties._training.strengths import Strengths
from keras_penalties._training.untracked import Untracked
from keras_penalties._types import Config, Tensors
from keras_penalties.schedules import Target, _strength


@register
class GradientReversal(LayerWithLosses):
    r"""Returns its input unchanged, and passes the gradient back with the opposite sign.

    $$y = x,\qquad \frac{\partial L}{\partial x} = -\lambda\,\frac{\partial L}{\partial y}$$

    The layers after this one learn to distinguish groups, such as two domains. The layers before it learn
    features that do not distinguish them. This is domain-adversarial training in one model and one `fit`.

    With a schedule, the layer counts training steps in a weight; otherwise it has none. A training batch
    counts once, however often the layer is called in it; `evaluate` and `predict` count nothing. In an
    exported model it is an identity.

    Args:
        scale: \(\lambda\), a finite float >= 0, or a schedule of `keras.optimizers.schedules` or
            `keras_penalties.schedules.Cyclical` over training steps. The paper lets it grow from 0 to 1.
            Defaults to 1.0.
        **kwargs: `name=` and the other arguments of a Keras layer.

    Call arguments:
        inputs: a float tensor of any shape; the result has its shape, dtype and mask.
        training: whether this is a training step; by default, Keras' own value.

    Example:

    >>> import keras, numpy as np, keras_penalties as kp
    >>> layer = kp.layers.GradientReversal(0.5)
    >>> keras.ops.convert_to_numpy(layer(np.array([[1.0, 2.0]]))).tolist()
    [[1.0, 2.0]]
    >>> start = keras.Input((1,))
    >>> feature = keras.layers.Dense(1, kernel_initializer="ones", name="feature")(start)
    >>> answer = keras.layers.Dense(1, kernel_initializer="ones")(layer(feature))
    >>> model = keras.Model(start, answer)
    >>> model.compile(keras.optimizers.SGD(0.1), "mse")
    >>> _ = model.fit(np.ones((1, 1)), np.zeros((1, 1)), verbose=0)
    >>> kernel = model.get_layer("feature").kernel  # the gradient is 2, times -0.5
    >>> round(float(keras.ops.convert_to_numpy(kernel)[0, 0]), 4)  # 1 + 0.1 * 0.5 * 2
    1.1

    Raises:
        TypeError: if `scale` is neither a number nor a schedule; if the input does not have a float dtype.
        ValueError: if `scale` is negative or not finite.

    Source: Ganin et al., [Domain-Adversarial Training of Neural Networks](https://arxiv.org/abs/1505.07818),
    Journal of Machine Learning Research 17 (2016), section 4.2, and equation 14 for the growth. Written by
    hand, the layer needs a `custom_gradient` of one backend.
    """

    def __init__(self, scale: float | keras.optimizers.schedules.LearningRateSchedule = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(scale, Target):
            raise TypeError(
                "`scale` of GradientReversal must be a finite number >= 0, or a schedule. Received: a "
                "Target, which adapts to what a penalty measures, and this layer measures nothing."
            )
        self._scale = Untracked(strength=_strength.check(scale, "GradientReversal", "scale"))
        self._scales = Strengths([self._scale], self.name, ending="_scale")
        self._passes = Untracked(scopes={})
        self.supports_masking = True
        self.built = True

    @property
    def scale(self) -> Any:
        """The argument `scale`. It cannot be replaced."""
        return self._scale.strength

    def call(self, inputs: Tensors, training: bool | None = None) -> Tensors:
        _checks.tensor(inputs, "GradientReversal")
        if scopes.is_symbolic():
            return inputs
        scale = self.scale
        if _strength.is_moving(scale):
            self._begin(bool(training))
            scale = ops.cast(self._scales.now(0), inputs.dtype)
        fixed = ops.stop_gradient(inputs)
        return fixed - scale * (inputs - fixed)  # the difference is exactly 0, so no digit is lost

    def _begin(self, training):
        """Begin a step, unless this is not the first call in this pass."""
        scope, seen = scopes.stateless_scope(), self._passes.scopes
        before = seen.get(replicas.replica())
        if before is None or before() is not scope:
            seen[replicas.replica()] = (lambda: None) if scope is None else weakref.ref(scope)
            self._scales.begin(training)

    def end_pass(self, of_keras: Callable) -> None:
        of_keras()
        if scopes.stateless_scope() is None:
            self._passes.scopes.pop(replicas.replica(), None)

    def compute_output_spec(self, inputs: Tensors, training: bool | None = None) -> Any:
        _checks.tensor(inputs, "GradientReversal")
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> Config:
        scale = self.scale
        if _strength.is_moving(scale):
            scale = keras.saving.serialize_keras_object(scale)
        return {**super().get_config(), "scale": scale}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return made(cls, config, "scale")
