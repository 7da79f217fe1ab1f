"""``calibration_error`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, spatial_axes


def calibration_error(input: Tensor, target: Tensor, mask: Tensor | None, bins: int) -> Tensor:
    """See :func:`medloss.ops.calibration_error.calibration_error`."""
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
