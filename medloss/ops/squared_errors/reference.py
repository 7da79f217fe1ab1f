"""``squared_errors`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from torch import Tensor

from medloss.ops.voxels import accumulation_dtype


def squared_errors(input: Tensor, target: Tensor, cost: Tensor) -> Tensor:
    """See :func:`medloss.ops.squared_errors.squared_errors`."""
    dtype = accumulation_dtype(input)
    return (cost.to(dtype) * (input.to(dtype) - target.to(dtype)) ** 2).flatten(2).sum(-1)
