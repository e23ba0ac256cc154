"""Sizes of tensors that are known only when the code runs, as in a model exported for any batch size.

In TensorFlow such a size is a tensor. In JAX and PyTorch it is a symbol (`_DimExpr`, `torch.SymInt`), which
looks like a number but cannot be compared with one, and `ops.cast` turns PyTorch's into a constant.
"""

from typing import Any

import keras
from keras import ops


def size(x, axis=0) -> Any:
    """How many entries `x` has along `axis`: an int if known, otherwise an int32 tensor."""
    count = ops.shape(x)[axis]
    if isinstance(count, int):
        return count
    if keras.backend.backend() == "torch" and not ops.is_tensor(count):
        import torch

        return torch.scalar_tensor(count, dtype=torch.int32, device=x.device)
    return ops.cast(count, "int32")


def either(condition, first, second):
    """`first()` if `condition` is true, else `second()`, for two ways to the same result.

    TensorFlow evaluates an unknown condition when the code runs. Exported programs of JAX and PyTorch use the
    second way: the first may depend on a size that is only a symbol there.
    """
    if isinstance(condition, bool):
        return first() if condition else second()
    return ops.cond(condition, first, second) if keras.backend.backend() == "tensorflow" else second()
