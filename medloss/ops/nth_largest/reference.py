"""``nth_largest`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.misfits import dtype_misfits


class Arguments(NamedTuple):
    """What ``nth_largest`` is given."""

    values: Tensor
    counted: Tensor
    n: Tensor

    def misfits(self, taken: Collection[torch.dtype]) -> list[str]:
        """Why no kernel that knows these dtypes of values can take these arguments; empty where one can."""
        found = dtype_misfits(taken, values=self.values) + dtype_misfits((torch.int64,), n=self.n)
        rows = (self.values.shape[0], 1)
        if self.counted.dtype != torch.bool or self.counted.shape != self.values.shape or self.n.shape != rows:
            found.append("counted and n do not fit the values")
        return found


def nth_largest(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.nth_largest.nth_largest`."""
    ordered = torch.where(args.counted, args.values.detach(), -torch.inf).sort(1, descending=True).values
    beyond = torch.full_like(ordered[:, :1], -torch.inf)
    place = (args.n - 1).clamp_min(0)
    return torch.where(
        place < args.values.shape[1], ordered.gather(1, place.clamp_max(args.values.shape[1] - 1)), beyond
    )
