"""``calibration_error``: how far confidence and accuracy lie apart, in bins of the predicted probability."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.operator import Operator
from medloss.ops.voxels import accumulation_dtype, blank, spatial_axes

__all__ = ["calibration_error"]


def reference(input: Tensor, target: Tensor, mask: Tensor | None, bins: int) -> Tensor:
    """See :func:`calibration_error`. Plain torch: the specification of the operator."""
    dtype = accumulation_dtype(input)
    weight = None if mask is None else mask.to(dtype).expand(input.shape)
    p, t = blank(input.to(dtype), weight), blank(target.to(dtype), weight)
    excess = p - t
    weight = None if weight is None else weight.detach()
    return (excess * slopes(p.detach(), excess.detach(), weight, bins)).sum(spatial_axes(p))


def slopes(p: Tensor, excess: Tensor, weight: Tensor | None, bins: int) -> Tensor:
    """The derivative of the error in each probability: up or down, as the mean of its bin lies, and as much."""
    axes = spatial_axes(p)
    index = (p * bins).ceil().sub(1).clamp(0, bins - 1)
    found, held = torch.zeros_like(p), torch.zeros_like(p[:, :, :1].sum(axes, keepdim=True))
    for number in range(bins):  # bin by bin: no map for each of them, and sums in a fixed order
        inside = (index == number).to(p.dtype)
        inside = inside if weight is None else inside * weight
        mass = inside.sum(axes, keepdim=True)
        gap = (inside * excess).sum(axes, keepdim=True)
        found.addcmul_(inside, gap.sign() / torch.where(mass > 0, mass, torch.ones_like(mass)))
        held = held + (mass > 0).to(held.dtype)
    return found / held.clamp_min(1)


def _fake(input: Tensor, target: Tensor, mask: Tensor | None, bins: int) -> Tensor:
    return input.new_empty(input.shape[:2], dtype=accumulation_dtype(input))


OPERATOR = Operator("calibration_error", reference, _fake)


def calibration_error(input: Tensor, target: Tensor, mask: Tensor | None = None, *, bins: int) -> Tensor:
    """The mean over the bins that hold any voxel of |mean probability - mean membership|.

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
    return OPERATOR(input, target, mask, bins)
