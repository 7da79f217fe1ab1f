"""``squared_errors`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, membership, voxel_weight
from medloss.ops.probabilities import likelihoods
from medloss.ops.region_sums.reference import difference


class Arguments(NamedTuple):
    """What ``squared_errors`` is given."""

    input: Tensor
    target: Tensor
    cost: Tensor
    mask: Tensor | None
    activation: str
    indexed: bool
    ignore_index: int | None
    first: int


def squared_errors(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.squared_errors.squared_errors`."""
    cost = args.cost
    dtype = accumulation_dtype(args.input)
    weight = voxel_weight(args.target, args.mask, args.indexed, args.ignore_index, dtype)
    found = likelihoods(blank(args.input.to(dtype), weight), args.activation)
    error = difference(found, membership(args.target, args.input.shape[1], args.indexed, dtype))[:, args.first :]
    cost = cost.to(dtype)
    if weight is not None:
        weight = weight if weight.shape[1] == 1 else weight[:, args.first :]
        error, cost = blank(error, weight), blank(cost, weight) * weight
    return (cost * error**2).flatten(2).sum(-1)
