"""The distance between two embeddings."""

from typing import Any

import keras
from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._serialization import register
from keras_penalties._types import Tensor, Tensors


class _Distance(keras.layers.Layer):
    """A layer of two tensors of the same shape that returns one number per row."""

    def build(self, input_shape: Any) -> None:
        self._check(input_shape)
        self.built = True

    def call(self, inputs: Tensors) -> Tensors:
        a, b = inputs
        distance = self.distance(_numerics.accumulate(a), _numerics.accumulate(b))
        return ops.cast(distance, a.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        self._check(input_shape)
        return (*input_shape[0][:-1], 1)

    def _check(self, shapes):
        pair = isinstance(shapes, (list, tuple)) and len(shapes) == 2
        if not (pair and all(isinstance(s, (list, tuple)) for s in shapes)):
            raise ValueError(
                f"{type(self).__name__} measures between two tensors and takes them as a list. "
                f"Received: shape {shapes}. Call it as `layer([a, b])`."
            )
        a, b = (tuple(s) for s in shapes)
        if not _checks.shapes_agree(a, b):
            raise ValueError(
                f"{type(self).__name__} needs two tensors of the same shape. Received: {a} and {b}. Use "
                "the same encoder for both."
            )


@register
class EuclideanDistance(_Distance):
    r"""The Euclidean distance of two tensors, along the last axis.

    $$\lVert a - b\rVert_2$$

    Its gradient at distance 0 is 0, where a plain square root gives NaN. Summed in float32 at least.

    Call arguments:
        inputs: a list of two float tensors `(batch, ..., features)`; the result is `(batch, ..., 1)`, in
            the units of the inputs.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> distance = kp.layers.EuclideanDistance()
    >>> float(distance([np.array([[1.0, 2.0]]), np.array([[4.0, 6.0]])])[0, 0])
    5.0

    Raises:
        ValueError: if it is not called on two tensors of the same shape.

    `keras.ops.norm` gives the same value, but its gradient at 0 is NaN on TensorFlow and JAX.
    """

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return _numerics.norm(a - b, -1)[..., None]


@register
class CosineDistance(_Distance):
    r"""One minus the cosine of the angle between two tensors, along the last axis.

    $$1 - \frac{a \cdot b}{\lVert a\rVert_2\,\lVert b\rVert_2}$$

    Between 0 and 2. A row of zeros has no direction: its distance from anything is 1, with gradient 0.

    Call arguments:
        inputs: a list of two float tensors `(batch, ..., features)`; the result is `(batch, ..., 1)`.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> distance = kp.layers.CosineDistance()
    >>> # 1 - 0.6
    >>> round(float(distance([np.array([[3.0, 0.0]]), np.array([[3.0, 4.0]])])[0, 0]), 6)
    0.4

    Raises:
        ValueError: if it is not called on two tensors of the same shape.

    Source: Salton, Wong and Yang, [A Vector Space Model for Automatic
    Indexing](https://doi.org/10.1145/361219.361220), Communications of the ACM 18 (1975).
    `keras.losses.CosineSimilarity` is the negative cosine, without the 1.
    """

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return 1.0 - ops.sum(_numerics.unit(a) * _numerics.unit(b), axis=-1, keepdims=True)
