"""``calibration_error`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, spatial_axes
from medloss.ops.misfits import mask_misfits


class Arguments(NamedTuple):
    """What ``calibration_error`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    bins: int

    def misfits(self, most_bins: int) -> list[str]:
        """Why no kernel that knows so many bins can take these arguments; empty where one can."""
        found = mask_misfits(self.mask, self.input)
        if self.input.numel() == 0 or self.target.shape != self.input.shape:
            found.append("target is not of the input's shape, or there is no voxel")
        if self.bins > most_bins:
            found.append(f"{self.bins} bins are more than {most_bins}")
        return found


def calibration_error(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.calibration_error.calibration_error`."""
    dtype = accumulation_dtype(args.input)
    weight = None if args.mask is None else args.mask.to(dtype).expand(args.input.shape)
    p, t = blank(args.input.to(dtype), weight), blank(args.target.to(dtype), weight)
    excess = p - t
    weight = None if weight is None else weight.detach()
    return (excess * slopes(p.detach(), excess.detach(), weight, args.bins)).sum(spatial_axes(p))


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
