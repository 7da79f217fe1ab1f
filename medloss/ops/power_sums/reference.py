"""``power_sums`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.region_sums.columns import Terms
from medloss.ops.region_sums.reference import likelihoods, region_sums, weighted
from medloss.ops.voxels import accumulation_dtype, blank, membership, spatial_axes, voxel_weight


def power_sums(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    error: str,
    exponent: float,
    activation: str,
    indexed: bool,
    ignore_index: int | None,
    regions: bool,
    both: bool,
) -> Tensor:
    """See :func:`medloss.ops.power_sums.power_sums`."""
    dtype = accumulation_dtype(input)
    weight = voxel_weight(target, mask, indexed, ignore_index, dtype)
    input = input.to(dtype)  # once: what comes back from both parts must meet before it is rounded
    logits = blank(input, weight)
    t = blank(membership(target, input.shape[1], indexed, dtype), weight)
    p, true, false = likelihoods(logits, activation)
    if error == "difference":
        one = power((p - t).abs(), exponent)
        powers = one, one
    else:
        false = false_of_softmax(logits) if activation == "softmax" and both else false
        if indexed and both:  # a voxel is of a class or is not: what is costly is computed of one of the two
            one = power(torch.where(t > 0, true, false), exponent)
            powers = one, one
        else:
            powers = power(true, exponent), power(false, exponent)
    shares = [t, 1 - t if both else torch.zeros_like(t)]
    shares = shares if weight is None else [share * weight for share in shares]
    sums = torch.stack([weighted(*pair).sum(spatial_axes(p)) for pair in zip(shares, powers, strict=True)], -1)
    if not regions:
        return sums
    others = region_sums(input, target, mask, activation, indexed, ignore_index, Terms.SQUARES, 0.0)
    return torch.cat([others, sums], -1)


def power(base: Tensor, exponent: float) -> Tensor:
    """``base**exponent`` of a base of at least 0, which is kept off it: the gradient there is 0, not infinite."""
    if exponent == 2:
        return base * base
    base = base.clamp_min(torch.finfo(base.dtype).tiny)
    return base if exponent == 1 else base.pow(exponent)


def false_of_softmax(logits: Tensor) -> Tensor:
    """Minus the logarithm of one minus each probability; of one above a half by the sum of the others."""
    whole = logits.logsumexp(1, keepdim=True)
    p = (logits - whole).exp()
    above = p.detach() > 0.5  # one class of a voxel at most
    others = logits.masked_fill(above, -torch.inf).logsumexp(1, keepdim=True)
    return torch.where(above, whole - others, -torch.log1p(-p.masked_fill(above, 0.0)))
