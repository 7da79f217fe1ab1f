"""``global_moments`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.local_moments.reference import variance
from medloss.ops.masking import accumulation_dtype, blank, spatial_axes
from medloss.ops.misfits import REALS, dtype_misfits, mask_misfits


class Arguments(NamedTuple):
    """What ``global_moments`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None

    def pair(self, own: str) -> tuple[Tensor, Tensor]:
        """The image of this name, and the other one."""
        return (self.input, self.target) if own == "input" else (self.target, self.input)

    def misfits(self) -> list[str]:
        """Why no kernel can take these arguments; empty where one can."""
        found = dtype_misfits(REALS, input=self.input, target=self.target) + mask_misfits(self.mask, self.input)
        if self.target.shape != self.input.shape or self.input.numel() == 0:
            found.append("target is not of the input's shape, or there is no voxel")
        return found


def global_moments(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.global_moments.global_moments`."""
    input = args.input
    dtype = accumulation_dtype(input)
    weight = torch.ones_like(input, dtype=dtype) if args.mask is None else args.mask.to(dtype).expand(input.shape)
    x, y = (blank(image.to(dtype), weight) for image in (input, args.target))
    axes = spatial_axes(x)
    mass = weight.sum(axes)
    some = torch.where(mass > 0, mass, torch.ones_like(mass))
    # a constant taken off changes nothing, and saves the digits of what is left
    x, y = (z - ((z.detach() * weight).sum(axes) / some).view(*mass.shape, *[1] * len(axes)) for z in (x, y))
    sum_x, sum_y = (x * weight).sum(axes), (y * weight).sum(axes)
    var_x, flat_x = variance(sum_x, (x * x * weight).sum(axes), some)
    var_y, flat_y = variance(sum_y, (y * y * weight).sum(axes), some)
    covariance = (x * y * weight).sum(axes) - sum_x * sum_y / some
    covariance = torch.where(flat_x | flat_y, torch.zeros_like(covariance), covariance)
    return torch.stack([mass, covariance / some, var_x / some, var_y / some], -1)
