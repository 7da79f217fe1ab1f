"""``region_sums`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, membership, spatial_axes, voxel_weight
from medloss.ops.probabilities import Likelihoods, likelihoods
from medloss.ops.region_sums.columns import COLUMNS, Column, Terms

LIKELIHOODS = Terms.LIKELIHOOD | Terms.UNIFORM | Terms.FOCAL


class Arguments(NamedTuple):
    """What ``region_sums`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    activation: str
    indexed: bool
    ignore_index: int | None
    terms: int
    gamma: float

    def misfits(self) -> list[str]:
        """Why no kernel can take these arguments; empty where one can."""
        if self.activation == "none" and self.terms & LIKELIHOODS:
            return ["likelihoods are computed from logits, not from probabilities"]
        return []


def region_sums(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.region_sums.region_sums`."""
    terms = args.terms
    dtype = accumulation_dtype(args.input)
    weight = voxel_weight(args.target, args.mask, args.indexed, args.ignore_index, dtype)
    logits = blank(args.input.to(dtype), weight)
    t = blank(membership(args.target, args.input.shape[1], args.indexed, dtype), weight)
    found = likelihoods(logits, args.activation)
    p, _, positive, negative = found
    maps = {Column.OVERLAP: p * t, Column.INPUT: p, Column.TARGET: t} | error_maps(found, t, terms)
    if terms & Terms.LIKELIHOOD:
        maps |= {Column.NLL_TRUE: weighted(t, positive), Column.NLL_FALSE: weighted(1 - t, negative)}
    if terms & Terms.UNIFORM:
        maps[Column.NLL_ALL] = positive
    if terms & Terms.FOCAL:
        factor = modulator(found, t, args.activation, args.gamma)
        maps |= {
            Column.FOCAL_TRUE: weighted(t, factor * positive), Column.FOCAL_FALSE: weighted(1 - t, factor * negative)
        }  # fmt: skip
    axes = spatial_axes(p)
    sums = {column: (map if weight is None else map * weight).sum(axes) for column, map in maps.items()}
    sums[Column.VOXELS] = (torch.ones_like(p) if weight is None else weight.expand_as(p)).sum(axes)
    nothing = torch.zeros_like(sums[Column.VOXELS])
    return torch.stack([sums.get(Column(column), nothing) for column in range(COLUMNS)], -1)


def error_maps(found: Likelihoods, t: Tensor, terms: int) -> dict[Column, Tensor]:
    """The columns of squares and errors that are asked for, of each voxel."""
    p, q, off = found.p, found.q, difference(found, t)
    maps: dict[Column, Tensor] = {}
    if terms & Terms.SQUARES:
        maps |= {Column.INPUT_SQUARES: p * p, Column.TARGET_SQUARES: t * t, Column.SQUARED_ERROR: off**2}
    if terms & Terms.DIFFERENCE:  # an infinite membership shows in what is common, too
        maps |= {Column.COMMON: torch.where(off > 0, t, torch.where(off < 0, p + 0 * t, (p + t) / 2))}
        maps |= {Column.SURPLUS: (off.abs() + off) / 2, Column.LACK: (off.abs() - off) / 2}
    if terms & Terms.ERRORS:
        maps |= {Column.FALSE_POSITIVE: p * (1 - t), Column.FALSE_NEGATIVE: q * t}
    if terms & Terms.NEGATIVES:
        maps[Column.TRUE_NEGATIVE] = q * (1 - t)
    return maps


def difference(found: Likelihoods, t: Tensor) -> Tensor:
    """p - t, which for a hard t is p, or minus the complement of p."""
    return found.p * (1 - t) - found.q * t


def modulator(found: Likelihoods, t: Tensor, activation: str, gamma: float) -> Tensor:
    """The focal factor ``(1 - q)**gamma`` with q the probability of what is true.

    The base is kept off zero, so that the gradient at saturation is zero and not NaN for an exponent below one.
    """
    if gamma == 0:
        return torch.ones_like(found.p)
    distance = found.q if activation == "softmax" else found.p * (1 - t) + found.q * t
    return distance.clamp_min(torch.finfo(t.dtype).tiny).pow(gamma)


def weighted(share: Tensor, term: Tensor) -> Tensor:
    """``share * term`` with nothing times infinity being nothing."""
    return torch.where(share == 0, torch.zeros_like(term), share * term)
