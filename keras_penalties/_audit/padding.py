"""Padding that the model knows about, but a penalty counts."""

from dataclasses import dataclass

import numpy as np
from keras import ops, tree

from keras_penalties._keras.masks import get_keras_mask
from keras_penalties._keras.scopes import as_numpy
from keras_penalties._tensors.masks import named_inputs


@dataclass(frozen=True)
class KnownMask:
    """A mask in a pass of a model.

    Attributes:
        name: the name of the input, or of the layer that gets a tensor with this mask.
        is_input: whether it is an input; otherwise Keras keeps it with a tensor.
        counted: an array, True where a step counts.
    """

    name: str
    is_input: bool
    counted: np.ndarray


class KnownMasks:
    """The masks that layers are called with: those of Keras, and arguments with "mask" in their name."""

    def __init__(self):
        self._found = {}

    def see(self, layer, args, kwargs):
        """Record the masks among the arguments of `layer`."""
        for name, value in named_inputs(layer, args, kwargs).items():
            if "mask" in name:
                self._remember(name, True, value)
        for x in tree.flatten((args, kwargs)):
            if ops.is_tensor(x):
                self._remember(layer.name, False, get_keras_mask(x))

    def _remember(self, name, is_input, mask):
        if ops.is_tensor(mask) and id(mask) not in self._found:
            self._found[id(mask)] = mask, name, is_input  # keep the mask, so that no other object gets its id

    def all(self) -> list[KnownMask]:
        """The masks that drop something and have a value for each step: zeros and ones, not positions."""
        found = []
        for mask, name, is_input in self._found.values():
            array = as_numpy(mask)
            if array is not None and array.ndim > 1 and set(np.unique(array)) <= {0, 1} and not np.all(array):
                found.append(KnownMask(name, is_input, array.astype(bool)))
        return sorted(found, key=lambda known: not known.is_input)


def counted_padding(x, known: list[KnownMask]) -> tuple[int, KnownMask | None]:
    """How many elements of `x`, which has no mask, are padding according to one of `known`, and which one."""
    for mask in known:
        rank = mask.counted.ndim
        if rank < len(x.shape) and tuple(x.shape[:rank]) == mask.counted.shape:
            return int(np.sum(~mask.counted)) * int(np.prod(x.shape[rank:])), mask
    return 0, None
