"""``power_sums``: powers of each voxel's error, summed over the voxels, per sample and class.

``region_sums`` knows errors and likelihoods to the first power; a loss that bends them voxel by voxel needs these.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.operator import Operator
from medloss.ops.region_sums.columns import COLUMNS, Terms
from medloss.ops.region_sums.reference import likelihoods, region_sums, weighted
from medloss.ops.voxels import accumulation_dtype, blank, membership, spatial_axes, voxel_weight

__all__ = ["ERRORS", "power_sums"]

ERRORS = ("difference", "likelihood")


def reference(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    error: str,
    exponent: float,
    activation: str,
    indexed: bool,
    ignore_index: int | None,
    regions: bool,
) -> Tensor:
    """See :func:`power_sums`. Plain torch: the specification of the operator."""
    dtype = accumulation_dtype(input)
    weight = voxel_weight(target, mask, indexed, ignore_index, dtype)
    input = input.to(dtype)  # once: what comes back from both parts must meet before it is rounded
    logits = blank(input, weight)
    t = blank(membership(target, input.shape[1], indexed, dtype), weight)
    p, true, false = likelihoods(logits, activation)
    if error == "difference":
        both = power((p - t).abs(), exponent)
        powers = both, both
    else:
        false = false_of_softmax(logits) if activation == "softmax" else false
        powers = power(true, exponent), power(false, exponent)
        if indexed:  # a voxel is of a class or is not: what is costly is computed of one of the two
            both = power(torch.where(t > 0, true, false), exponent)
            powers = both, both
    maps = [weighted(t, powers[0]), weighted(1 - t, powers[1])]
    axes = spatial_axes(p)
    sums = torch.stack([(map if weight is None else map * weight).sum(axes) for map in maps], -1)
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


def _fake(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    error: str,
    exponent: float,
    activation: str,
    indexed: bool,
    ignore_index: int | None,
    regions: bool,
) -> Tensor:
    return input.new_empty((*input.shape[:2], 2 + regions * COLUMNS), dtype=accumulation_dtype(input))


OPERATOR = Operator("power_sums", reference, _fake)


def power_sums(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    error: str,
    exponent: float,
    activation: str = "none",
    indexed: bool = False,
    ignore_index: int | None = None,
    regions: bool = False,
) -> Tensor:
    r"""Powers of the error of each voxel, summed apart for what it is of and for what it is not of.

    Args:
        input: logits (or probabilities where ``activation="none"``), B C [spatial], any floating dtype.
        target: class indices B 1 [spatial] of any dtype that compares with integers, or memberships B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Nothing under a zero is looked at.
        error: ``"difference"``, :math:`|p - t|`; or ``"likelihood"``, :math:`-\log p` for what the voxel is of and
            :math:`-\log(1 - p)` for what it is not of.
        exponent: of the error, above 0.
        activation: ``"softmax"``, ``"sigmoid"`` or ``"none"`` (which has no likelihood).
        indexed: whether ``target`` holds class indices. An index outside the classes belongs to no class.
        ignore_index: the label whose voxels weigh nothing; for class indices only.
        regions: return the columns of :func:`region_sums` too, with the squares, in front. One operator has one
            gradient, which in half precision is rounded once.

    Returns:
        :math:`\sum_i w_i t_{ic} e_{ic}^a` and :math:`\sum_i w_i (1 - t_{ic}) e_{ic}^a`, B C 2 (and more
        with ``regions``); float64 for double input and float32 otherwise. Where a base is 0 the gradient is 0,
        whatever the exponent.

    Raises:
        ValueError: an unknown error, an exponent that is not above 0, or likelihoods without an activation.
    """
    if error not in ERRORS:
        raise ValueError(f"error {error!r} is unknown: choose one of {', '.join(map(repr, ERRORS))}")
    if not exponent > 0:
        raise ValueError(f"exponent={exponent!r} must be above 0")
    if error == "likelihood" and activation == "none":
        raise ValueError("likelihoods are computed from logits, not from probabilities: name their activation")
    return OPERATOR(input, target, mask, error, float(exponent), activation, indexed, ignore_index, regions)
