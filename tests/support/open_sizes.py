"""Functions as an exported model holds them: compiled once, for sizes that are not known yet."""

import warnings

import numpy as np

from tests.support.helpers import BACKEND, tensor


def with_open_sizes(fn, *arrays, open_axes):
    """`fn` as it is exported for arguments like `arrays`, of any size along `open_axes`.

    Equal axes of the arguments have one size: the batch, the time.
    """
    shapes = [[None if i in open_axes else n for i, n in enumerate(array.shape)] for array in arrays]
    export = {"jax": _jax, "torch": _torch}[BACKEND]
    exported = export(fn, arrays, shapes)
    return lambda *values: exported(*(tensor(np.asarray(value)) for value in values))


def _jax(fn, arrays, shapes):
    import jax
    from jax import export

    scope = export.SymbolicScope()
    specs = []
    for array, shape in zip(arrays, shapes, strict=True):
        sizes = ",".join(f"size{i}" if n is None else str(n) for i, n in enumerate(shape))
        specs.append(jax.ShapeDtypeStruct(export.symbolic_shape(f"({sizes},)", scope=scope), array.dtype))
    return export.export(jax.jit(fn))(*specs).call


def _torch(fn, arrays, shapes):
    import torch

    class Module(torch.nn.Module):
        def forward(self, *xs):
            return fn(*xs)

    sizes = {i: torch.export.Dim(f"size{i}", min=2) for i in range(max(map(len, shapes)))}
    dynamic = tuple({i: sizes[i] for i, n in enumerate(shape) if n is None} for shape in shapes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            Module(), tuple(map(tensor, arrays)), dynamic_shapes=(dynamic,), strict=False
        )
    return program.module()
