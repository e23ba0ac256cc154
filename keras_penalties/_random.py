"""Random numbers that are the same on every backend, replica and release: they are a function of integers."""

import functools
import math
import operator

from keras import ops

# Two odd numbers and three shifts that leave no pattern: "lowbias32" of Wellons' hash-prospector. As signed
# numbers, since PyTorch and TensorFlow multiply no unsigned ones; products wrap around.
_FACTORS = (0x7FEB352D, 0x846CA68B - 2**32)
_SHIFTS = (16, 15, 16)


def normal(shape, seed, step, dtype):
    """Independent normal numbers of this shape.

    Args:
        shape: the sizes; on TensorFlow they may be tensors.
        seed: an int.
        step: an int, or an int32 tensor: each gives other numbers.
        dtype: the dtype of the result.
    """
    count = functools.reduce(operator.mul, shape)
    key = _mixed(ops.bitwise_xor(_mixed(ops.cast(step, "int32")), _signed(seed)))
    bits = _mixed(ops.bitwise_xor(ops.arange(2 * count, dtype="int32"), key))
    # The 24 highest bits, so that float32 holds each of them: between 0 and 1, neither included.
    uniform = (ops.cast(_shifted(bits, 8), dtype) + 0.5) * 2.0**-24
    radius = ops.sqrt(-2.0 * ops.log(uniform[:count]))
    return ops.reshape(radius * ops.cos(2.0 * math.pi * uniform[count:]), shape)


def _mixed(x):
    """A permutation of the 32-bit numbers."""
    for shift, factor in zip(_SHIFTS, (*_FACTORS, None), strict=True):
        x = ops.bitwise_xor(x, _shifted(x, shift))
        if factor is not None:
            x = x * ops.convert_to_tensor(factor, dtype="int32")
    return x


def _shifted(x, places):
    """`x` shifted to the right, with zeros in front."""
    return ops.bitwise_and(ops.right_shift(x, places), 2 ** (32 - places) - 1)


def _signed(number):
    """The lowest 32 bits of an int, as a signed number."""
    return ops.convert_to_tensor((number + 2**31) % 2**32 - 2**31, dtype="int32")
