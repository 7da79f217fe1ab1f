"""``power_sums`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, membership, spatial_axes, voxel_weight
from medloss.ops.probabilities import likelihoods
from medloss.ops.region_sums import reference as region_sums
from medloss.ops.region_sums.columns import COLUMNS, Column, Terms
from medloss.ops.region_sums.reference import difference, weighted


class Arguments(NamedTuple):
    """What ``power_sums`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    error: str
    exponent: float
    activation: str
    indexed: bool
    ignore_index: int | None
    regions: bool
    both: bool


def power_sums(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.power_sums.power_sums`."""
    input, exponent, indexed = args.input, args.exponent, args.indexed
    dtype = accumulation_dtype(input)
    weight = voxel_weight(args.target, args.mask, indexed, args.ignore_index, dtype)
    input = input.to(dtype)  # once: what comes back from both parts must meet before it is rounded
    logits = blank(input, weight)
    t = blank(membership(args.target, input.shape[1], indexed, dtype), weight)
    found = likelihoods(logits, args.activation, args.both)
    p, _, true, false = found
    if args.error == "difference":
        one = power(difference(found, t).abs(), exponent)
        powers = one, one
    else:
        if indexed and args.both:  # a voxel is of a class or is not: what is costly is computed of one of the two
            one = power(torch.where(t > 0, true, false), exponent)
            powers = one, one
        else:
            powers = power(true, exponent), power(false, exponent)
    shares = [t, 1 - t if args.both else torch.zeros_like(t)]
    shares = shares if weight is None else [share * weight for share in shares]
    sums = torch.stack([weighted(*pair).sum(spatial_axes(p)) for pair in zip(shares, powers, strict=True)], -1)
    if not args.regions:
        return sums
    known = Terms.SQUARES | (Terms.ERRORS if args.error == "likelihood" else Terms.NONE)
    volume = (input, args.target, args.mask, args.activation, indexed, args.ignore_index)
    others = region_sums.region_sums(region_sums.Arguments(*volume, terms=known, gamma=0.0))
    others = torch.where(torch.arange(COLUMNS, device=p.device) == int(Column.SQUARED_ERROR), 0.0, others)
    return torch.cat([others, sums], -1)


def power(base: Tensor, exponent: float) -> Tensor:
    """``base**exponent`` of a base of at least 0, which is kept off it: the gradient there is 0, not infinite."""
    if exponent == 2:
        return base * base
    base = base.clamp_min(torch.finfo(base.dtype).tiny)
    return base if exponent == 1 else base.pow(exponent)
