"""``calibration_error``: how far confidence and accuracy lie apart, in bins of the predicted probability.

Plain torch, and no operator: a kernel would gain less than half of the time of a rare loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, spatial_axes

__all__ = ["calibration_error"]

CHUNK = {"cpu": 2**18}
"""Entries that are put into their bins together, 2^24 on other devices: no map of all numbers of bins, or doubles."""


def calibration_error(input: Tensor, target: Tensor, mask: Tensor | None = None, *, bins: int) -> Tensor:
    """The mean over the bins that hold any voxel of ``|mean probability - mean membership|``.

    Args:
        input: probabilities, B C [spatial], any floating dtype. Bin m of n holds those above (m - 1) / n, up to m / n.
        target: memberships, B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Nothing under a zero is looked at.
        bins: the number of bins.

    Returns:
        B C, float64 for double input and float32 otherwise. Differentiable in ``input``, whose voxels stay in their
        bins; 0 where there is no voxel.

    >>> import torch
    >>> calibration_error(torch.tensor([[[0.2, 0.6]]]), torch.tensor([[[0.0, 1.0]]]), bins=2)  # .2 and .4
    tensor([[0.3000]])
    """
    dtype = accumulation_dtype(input)
    weight = None if mask is None else mask.detach().to(dtype)
    p, t = blank(input.to(dtype), weight), blank(target.to(dtype), weight)
    excess = p - t
    return (excess * slopes(p.detach(), excess.detach(), weight, bins)).sum(spatial_axes(p))


def slopes(p: Tensor, excess: Tensor, weight: Tensor | None, bins: int) -> Tensor:
    """The derivative of the error in each probability: up or down, as the mean of its bin lies, and as much."""
    real = torch.float32 if p.device.type == "mps" else torch.float64
    voxels = max(CHUNK.get(p.device.type, 2**24) // (p.shape[0] * p.shape[1]), 1)
    weighted = excess if weight is None else excess * weight
    heavy = p.new_ones(()).expand_as(p[:, :1]) if weight is None else weight
    mass, gap = p.new_zeros(*p.shape[:2], bins, dtype=real), p.new_zeros(*p.shape[:2], bins, dtype=real)
    for part, apart, mine in zip(*(each.flatten(2).split(voxels, 2) for each in (p, weighted, heavy))):
        index = bin_of(part, bins)
        mass.scatter_add_(2, index, mine.to(real).expand_as(index))
        gap.scatter_add_(2, index, apart.to(real))
    some = mass > 0
    each = gap.sign() / torch.where(some, mass, torch.ones_like(mass)) / some.sum(2, keepdim=True).clamp_min(1)
    each = each.to(p.dtype)
    found = torch.cat([each.gather(2, bin_of(part, bins)) for part in p.flatten(2).split(voxels, 2)], 2).view(p.shape)
    return found if weight is None else found * weight


def bin_of(p: Tensor, bins: int) -> Tensor:
    """The numbers of the bins of probabilities, and of what lies beyond; a NaN is in the first."""
    return (p * bins).ceil_().sub_(1).nan_to_num_(0.0).clamp_(0, bins - 1).long()
