"""Sums and rows over the processes of `torch.distributed`, in steps that record gradients.

A step without gradients, such as one of `evaluate`, may run in only one of the processes, where it would wait
for the others forever. So it uses the rows of its own process, as `torch.nn.SyncBatchNorm` does.
"""

import functools
import itertools


def count() -> int:
    """How many processes share the batch of this step."""
    import torch

    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and torch.is_grad_enabled()):
        return 1
    return distributed.get_world_size()


def with_gradient(x, value_of, slopes_of):
    """`value_of(x)`, whose gradient in `x` is `slopes_of` of the gradient in the value."""
    return _function().apply(x, value_of, slopes_of)


@functools.cache
def _function():
    import torch

    class WithGradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, value_of, slopes_of):
            ctx.slopes_of = slopes_of
            value = value_of(x)
            return value.view_as(x) if value is x else value

        @staticmethod
        def backward(ctx, *slopes):
            return ctx.slopes_of(*slopes), None, None

    return WithGradient


def sum_of(x):
    import torch

    return _reduced(x, torch.distributed.ReduceOp.SUM)


def largest_of(x):
    import torch

    return _reduced(x, torch.distributed.ReduceOp.MAX)


def _reduced(x, operation):
    import torch

    x = x.detach().clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(x, operation)
    return x


def rows_like(x):
    """How to collect the rows of tensors with as many rows as `x` has."""
    return RowsOfProcesses(x)


class RowsOfProcesses:
    """Where the rows of each process are among the rows of all.

    Attributes:
        kept: which rows are real: None, for all.
        start: the index of the first row of this process.
    """

    def __init__(self, x):
        import torch

        self._rank, self._most = torch.distributed.get_rank(), 0
        counts = torch.zeros(torch.distributed.get_world_size(), dtype=torch.int64, device=x.device)
        counts[self._rank] = len(x)
        self._counts = sum_of(counts).tolist()
        self._most, self.kept = max(self._counts), None
        self.start = sum(self._counts[: self._rank])

    def rows_of(self, x):
        """The rows of all processes."""
        import torch

        x = x.detach()
        if x.dtype == torch.bool:  # which not all collectives support
            return self.rows_of(x.to(torch.uint8)) > 0
        padding = itertools.chain.from_iterable([(0, 0)] * (x.dim() - 1) + [(0, self._most - len(x))])
        padded = torch.nn.functional.pad(x, tuple(padding)).contiguous()
        parts = [torch.empty_like(padded) for _ in self._counts]
        torch.distributed.all_gather(parts, padded)
        return torch.cat([part[:rows] for part, rows in zip(parts, self._counts, strict=True)])

    def sum_of(self, rows):
        """The sum over the processes of a tensor that has a row for each row of all."""
        return sum_of(rows)

    def own(self, rows):
        """The rows of this process among those of all."""
        return rows[self.start : self.start + self._counts[self._rank]]
