"""``jaccard_extension`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, membership, voxel_weight
from medloss.ops.probabilities import finite, likelihoods
from medloss.ops.region_sums.reference import difference
from medloss.ops.sorted_errors import reference as sorted_errors


class Arguments(NamedTuple):
    """What ``jaccard_extension`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    errors: str
    indexed: bool
    ignore_index: int | None
    joined: bool
    first: int


def jaccard_extension(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.jaccard_extension.jaccard_extension`."""
    dtype = accumulation_dtype(args.input)
    weight = voxel_weight(args.target, args.mask, args.indexed, args.ignore_index, dtype)
    logits = blank(args.input.to(dtype), weight)
    t = membership(args.target, args.input.shape[1], args.indexed, dtype)
    if args.errors == "hinge":
        missed = _hinge(finite(logits), 2 * t - 1)
    else:
        missed = difference(likelihoods(logits, args.errors), t).abs()
    if weight is not None and weight.shape[1] > 1:
        weight = weight[:, args.first :]
    missed, t = blank(missed[:, args.first :], weight), blank(t[:, args.first :], weight)
    mass = torch.ones_like(t[:, :1]) if weight is None else weight
    rows = [_rows(map, args.joined) for map in (missed, t, mass)]
    ranked = sorted_errors.Arguments(rows[0], rows[1], None if weight is None else rows[2])
    values = sorted_errors.sorted_errors(ranked)
    hits, all = (rows[1] * rows[2]).sum(-1).detach(), rows[2].sum(-1).expand(values.shape).detach()
    return torch.stack([values, hits, all], -1)


def _hinge(logits: Tensor, side: Tensor) -> Tensor:
    """max(1 - z s, 0), without a slope by what is 0, however large."""
    over = logits * side >= 1
    return torch.where(over, 0.0, 1 - logits * torch.where(over, 1.0, side))


def _rows(map: Tensor, joined: bool) -> Tensor:
    """A map as B N V, or as 1 N V where the batch is one image."""
    return map.movedim(1, 0).flatten(1).unsqueeze(0) if joined else map.flatten(2)
