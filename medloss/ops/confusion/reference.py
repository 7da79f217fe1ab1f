"""``confusion`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, membership, voxel_weight
from medloss.ops.probabilities import likelihoods


class Arguments(NamedTuple):
    """What ``confusion`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    activation: str
    indexed: bool
    ignore_index: int | None


def confusion(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.confusion.confusion`."""
    dtype = accumulation_dtype(args.input)
    weight = voxel_weight(args.target, args.mask, args.indexed, args.ignore_index, dtype)
    p = likelihoods(blank(args.input.to(dtype), weight), args.activation).p
    t = blank(membership(args.target, args.input.shape[1], args.indexed, dtype), weight)
    t = t if weight is None else t * weight
    # a product of matrices per sample: its sums have one order, which those of a scatter on a GPU have not
    return torch.bmm(t.flatten(2), p.flatten(2).transpose(1, 2))
