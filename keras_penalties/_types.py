"""The names of types in annotations."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import keras

Tensor: TypeAlias = Any  # of the backend, or convertible to a NumPy array: Keras has no such type
Tensors: TypeAlias = Any  # a tensor, or a list or dict of them
Shape: TypeAlias = tuple[int | None, ...]
Shapes: TypeAlias = Sequence[Shape]
Config: TypeAlias = dict[str, Any]  # plain JSON, except for objects that Keras serializes
DType: TypeAlias = str | keras.DTypePolicy | None
Per: TypeAlias = Literal["example", "element"]
Reduction: TypeAlias = Literal["sum_over_batch_size", "mean_with_sample_weight", "mean", "sum", "none"] | None
