"""``squared_errors`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, membership, voxel_weight
from medloss.ops.probabilities import likelihoods
from medloss.ops.region_sums.reference import difference


def squared_errors(
    input: Tensor,
    target: Tensor,
    cost: Tensor,
    mask: Tensor | None,
    activation: str,
    indexed: bool,
    ignore_index: int | None,
    first: int,
) -> Tensor:
    """See :func:`medloss.ops.squared_errors.squared_errors`."""
    dtype = accumulation_dtype(input)
    weight = voxel_weight(target, mask, indexed, ignore_index, dtype)
    found = likelihoods(blank(input.to(dtype), weight), activation)
    error = difference(found, membership(target, input.shape[1], indexed, dtype))[:, first:]
    cost = cost.to(dtype)
    if weight is not None:
        weight = weight if weight.shape[1] == 1 else weight[:, first:]
        error, cost = blank(error, weight), blank(cost, weight) * weight
    return (cost * error**2).flatten(2).sum(-1)
