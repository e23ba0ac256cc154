"""A derivative as a hidden tensor."""

from collections.abc import Mapping
from typing import Any, Self

import keras
from keras import ops

from keras_penalties import _checks, _numerics, _random
from keras_penalties._keras import replicas
from keras_penalties._serialization import register
from keras_penalties._training.state import State
from keras_penalties._types import Config, Tensor

REFERENCES = (str, keras.KerasTensor, Mapping)


@register
class Gradient:
    r"""The derivative of one tensor of a model with respect to another, as a hidden tensor.

    $$g = \frac{\partial}{\partial x} \sum_i y_i \quad\text{or, with } n \text{ projections,}\quad
    g_j = \sqrt{C / n}\; \frac{\partial\, v_j^\top y}{\partial x}$$

    Use it as a value of the argument `hidden` of `HiddenOutputs`. Everything that a hidden tensor gets from
    `compile` applies to it: penalties, losses, targets, metrics, and a name in the logs. It is the derivative
    of each example's own tensor, as long as examples do not depend on each other; in training,
    `BatchNormalization` makes them depend on each other.

    Args:
        of: the tensor to differentiate: the name of a hidden tensor in `hidden` (it may be another Gradient,
            for a second derivative), or a reference to a tensor of the model, as in `hidden`.
        wrt: the tensor with respect to which to differentiate: the name of an input of the model, or a hidden
            tensor or a reference, as for `of`. In a subclassed model, an input has the name of the argument
            of `call`, or is a key of the dict that `call` takes.
        feature: the index along the last axis of the feature of `of` to differentiate. By default, it is the
            sum over all features.
        projections: the number of random directions in which to differentiate `of`: an `L2` of the result
            estimates the squared Frobenius norm of the Jacobian. With `"exact"`, each feature is
            differentiated, which gives the whole Jacobian, at the cost of a backward pass per feature.
        seed: an int that determines the random directions. They change with each training step, and
            `evaluate` uses those of the next training step. They are the same on every backend, and do not
            depend on the number of replicas. Defaults to 0.

    Shapes: the shape of `wrt`; with `projections`, `(*wrt.shape, projections)`; with `"exact"`,
    `(*wrt.shape, features)`, where the elements of `of` after the batch are counted in row-major order. The
    dtype and the mask are those of `wrt`. Masked elements of `of` are not differentiated.

    Example:

    >>> import keras, numpy as np, keras_penalties as kp
    >>> x = keras.Input((2,), name="x")
    >>> logits = keras.layers.Dense(1, kernel_initializer="ones", name="logits")(x)
    >>> slope = kp.models.Gradient("logits", wrt="x")
    >>> model = kp.models.HiddenOutputs(keras.Model(x, logits), {"slope": slope})
    >>> model.compile(loss="mse", hidden_losses={"slope": kp.regularizers.L2(0.1)})
    >>> data = np.ones((4, 2)), np.zeros((4, 1))
    >>> logs = model.evaluate(*data, verbose=0, return_dict=True)
    >>> round(float(logs["slope_loss"]), 4)  # 0.1 * (1**2 + 1**2)
    0.2

    Raises:
        TypeError: if an argument has a wrong type.
        ValueError: if `projections` is not at least 1, or `feature` is given too; in `HiddenOutputs` and in
            training, if a tensor is not known, not float, or if `of` does not depend on `wrt`.

    Source: for the projections, Hoffman, Roberts and Yaida, [Robust Learning with Jacobian
    Regularization](https://arxiv.org/abs/1908.02729), 2019, whose penalty is half of the squared norm: an
    `L2` of half the strength. With `"exact"` on a hidden layer, an `L2` is the term of the contractive
    autoencoder: Rifai, Vincent, Muller, Glorot and Bengio, [Contractive Auto-Encoders: Explicit Invariance
    During Feature Extraction](https://icml.cc/2011/papers/455_icmlpaper.pdf), ICML 2011.
    """

    def __init__(
        self,
        of: Any,
        wrt: Any,
        feature: int | None = None,
        projections: int | str | None = None,
        seed: int = 0,
    ):
        for argument, value in (("of", of), ("wrt", wrt)):
            if not isinstance(value, REFERENCES) or (isinstance(value, str) and not value):
                raise TypeError(
                    f"`{argument}` of Gradient must be the name of a tensor, a str, or a symbolic tensor of "
                    f"the model. Received: {value!r} (of type {type(value).__name__})."
                )
        self.of, self.wrt = of, wrt
        self.feature, self.projections = feature, projections
        self.seed = _checks.whole(seed, "seed", "Gradient", at_least=None)
        if feature is not None and type(feature) is not int:
            raise TypeError(
                "`feature` of Gradient must be an int, an index along the last axis. "
                f"Received: {feature!r} (of type {type(feature).__name__})."
            )
        if projections not in (None, "exact"):
            self.projections = _checks.whole(projections, "projections", "Gradient")
        if feature is not None and projections is not None:
            raise ValueError(
                "Gradient takes `feature` or `projections`, not both: one feature is one direction. "
                f"Received: feature={feature}, projections={projections!r}."
            )

    def __repr__(self):
        defaults = {"feature": None, "projections": None, "seed": 0}
        options = [f"{k}={getattr(self, k)!r}" for k, v in defaults.items() if getattr(self, k) != v]
        return f"Gradient({', '.join([repr(self.of), f'wrt={self.wrt!r}', *options])})"

    def get_config(self) -> Config:
        names = ("of", "wrt", "feature", "projections", "seed")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return cls(**config)

    @property
    def is_random(self) -> bool:
        """Whether it needs random directions."""
        return isinstance(self.projections, int)

    def spec(self, of: Any, wrt: Any) -> Any:
        """The result as a symbolic tensor, from those of the arguments; None if it is not known."""
        if wrt is None or self.projections is None:
            return wrt
        count = self.projections
        if count == "exact":
            sizes = None if of is None else of.shape[1:]
            count = None if sizes is None or None in sizes else _product(sizes)
        return keras.KerasTensor((*wrt.shape, count), dtype=wrt.dtype)

    def scalars(self, y: Tensor, mask: Tensor, vectors: Tensor) -> list:
        """The scalars to differentiate.

        Args:
            y: the tensor `of`.
            mask: its mask, or None.
            vectors: the random directions: `(projections, batch, features)`; or None.
        """
        if isinstance(y, (list, tuple)) or not _numerics.is_float(y.dtype):
            kind = "several tensors" if isinstance(y, (list, tuple)) else f"a tensor of type {y.dtype}"
            raise ValueError(f"{self!r} can differentiate only one float tensor. Received: {kind}.")
        y = _numerics.keep(_numerics.accumulate(y), mask)
        if self.feature is not None:
            size = y.shape[-1] if len(y.shape) > 1 else 1
            if size is not None and not -size <= self.feature < size:
                raise ValueError(
                    f"`feature` of {self!r} must be an index of the last axis of a tensor of shape "
                    f"{tuple(y.shape)}: from {-size} to {size - 1}."
                )
            return [ops.sum(y[..., self.feature] if len(y.shape) > 1 else y)]
        if self.projections is None:
            return [ops.sum(y)]
        features = _product(ops.shape(y)[1:])
        rows = ops.reshape(y, (-1, features))
        if self.projections == "exact":
            if not isinstance(features, int):
                raise ValueError(
                    f"{self!r} needs to know the shape of the tensor after the batch. Received: a tensor "
                    f"of shape {tuple(y.shape)}."
                )
            return [ops.sum(rows[:, i]) for i in range(features)]
        vectors = ops.cast(vectors, rows.dtype)
        return [ops.sum(rows * vectors[i]) for i in range(vectors.shape[0])]

    def joined(self, slopes: list) -> Tensor:
        """The result, from the derivatives of the scalars."""
        return slopes[0] if self.projections is None else ops.stack(slopes, axis=-1)


class Directions(State):
    """The random directions of a `Gradient`, and how many training steps have drawn them."""

    def __init__(self, gradient: Gradient, name: str):
        super().__init__(f"{name}_directions")
        self.count, self.seed = gradient.projections, gradient.seed
        self.step = self.variable("step", dtype="int32")

    def draw(self, y: Tensor, training: Any) -> Tensor:
        """Vectors for each row of `y`, `(projections, batch, features)`. Their length is
        `sqrt(features / projections)`: on average, the squared products of a tensor with them add up to its
        squared length. A replica gets those of its rows."""
        batch, features = ops.shape(y)[0], _product(ops.shape(y)[1:])
        shape = (self.count, batch * replicas.replicas(), features)
        vectors = _random.normal(shape, self.seed, ops.copy(self.step.value), "float32")
        if training:
            self.step.assign(self.step.value + 1)
        start = replicas.rank() * batch
        vectors = _numerics.unit(vectors[:, start : start + batch])
        return vectors * ops.sqrt(ops.cast(features, "float32") / self.count)


def _product(sizes):
    product = 1
    for size in sizes:
        product = product * size
    return product
