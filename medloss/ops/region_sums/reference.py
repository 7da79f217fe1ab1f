"""``region_sums`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.region_sums.columns import COLUMNS, Column, Terms
from medloss.ops.voxels import accumulation_dtype, blank, membership, spatial_axes, voxel_weight


def region_sums(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    activation: str,
    indexed: bool,
    ignore_index: int | None,
    terms: int,
    gamma: float,
) -> Tensor:
    """See :func:`medloss.ops.region_sums.region_sums`."""
    dtype = accumulation_dtype(input)
    weight = voxel_weight(target, mask, indexed, ignore_index, dtype)
    logits = blank(input.to(dtype), weight)
    t = blank(membership(target, input.shape[1], indexed, dtype), weight)
    p, positive, negative = likelihoods(logits, activation)
    maps = {Column.OVERLAP: p * t, Column.INPUT: p, Column.TARGET: t}
    if terms & Terms.SQUARES:
        maps |= {Column.INPUT_SQUARES: p * p, Column.TARGET_SQUARES: t * t}
    if terms & Terms.DIFFERENCE:
        maps[Column.DIFFERENCE] = (p - t).abs()
    if terms & Terms.LIKELIHOOD:
        maps |= {Column.NLL_TRUE: weighted(t, positive), Column.NLL_FALSE: weighted(1 - t, negative)}
    if terms & Terms.UNIFORM:
        maps[Column.NLL_ALL] = positive
    if terms & Terms.FOCAL:
        true, false = modulators(p, t, positive, activation, gamma)
        maps |= {Column.FOCAL_TRUE: weighted(t, true * positive), Column.FOCAL_FALSE: weighted(1 - t, false * negative)}
    axes = spatial_axes(p)
    sums = {column: (map if weight is None else map * weight).sum(axes) for column, map in maps.items()}
    sums[Column.VOXELS] = (torch.ones_like(p) if weight is None else weight.expand_as(p)).sum(axes)
    nothing = torch.zeros_like(sums[Column.VOXELS])
    return torch.stack([sums.get(Column(column), nothing) for column in range(COLUMNS)], -1)


def likelihoods(logits: Tensor, activation: str) -> tuple[Tensor, Tensor, Tensor]:
    """Probability, minus its logarithm, and minus the logarithm of its complement (zero but for the sigmoid)."""
    if activation == "softmax":
        log_p = torch.log_softmax(logits, 1)
        return log_p.exp(), -log_p, torch.zeros_like(logits)
    if activation == "sigmoid":
        logsigmoid = torch.nn.functional.logsigmoid
        return torch.sigmoid(logits), -logsigmoid(logits), -logsigmoid(-logits)
    return logits, torch.zeros_like(logits), torch.zeros_like(logits)


def modulators(p: Tensor, t: Tensor, positive: Tensor, activation: str, gamma: float) -> tuple[Tensor, Tensor]:
    """The focal factor ``(1 - q)**gamma`` of the true and of the false terms.

    The base is kept off zero, so that the gradient at saturation is zero and not NaN for an exponent below one.
    """
    if gamma == 0:
        return torch.ones_like(p), torch.ones_like(p)
    distance = -torch.expm1(-positive) if activation == "softmax" else p * (1 - t) + (1 - p) * t
    factor = distance.clamp_min(torch.finfo(p.dtype).tiny).pow(gamma)
    return factor, factor


def weighted(share: Tensor, term: Tensor) -> Tensor:
    """``share * term`` with nothing times infinity being nothing."""
    return torch.where(share == 0, torch.zeros_like(term), share * term)
