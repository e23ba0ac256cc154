"""Which parts of a penalized tensor count."""

from keras import ops

from keras_penalties import _numerics
from keras_penalties._checks import shapes_agree
from keras_penalties._keras.masks import get_keras_mask


def combined(mask, tensors):
    """`mask`, which was passed for `tensors`, combined with the masks that Keras keeps with them: an element
    counts if both keep it. `tensors` may be one tensor or a list; the result is one mask, or a list.

    Every mask of a penalized tensor passes through here, and is boolean from here on. One that does not fit
    keeps its shape, and the penalty rejects it.
    """
    several = isinstance(tensors, (list, tuple))
    xs = list(tensors) if several else [tensors]
    masks = list(mask) if isinstance(mask, (list, tuple)) else [mask] * len(xs)
    if len(masks) != len(xs):
        return mask
    masks = [_both(_booleans(m), _booleans(get_keras_mask(x))) for m, x in zip(masks, xs, strict=True)]
    return masks if several else masks[0]


def _booleans(mask):
    return None if mask is None else _numerics.booleans(ops.convert_to_tensor(mask))


def _both(mask, own):
    if mask is None or own is None or mask is own:
        return own if mask is None else mask
    shared = min(len(mask.shape), len(own.shape))
    if len(mask.shape) <= len(own.shape) and not shapes_agree(mask.shape[:shared], own.shape[:shared]):
        return mask
    rank = max(len(mask.shape), len(own.shape))
    return ops.logical_and(_of_rank(mask, rank), _of_rank(own, rank))


def _of_rank(mask, rank):
    """`mask` with axes of size 1 appended."""
    missing = rank - len(mask.shape)
    return ops.reshape(mask, (*ops.shape(mask), *(1,) * missing)) if missing else mask
