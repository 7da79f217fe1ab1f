"""``global_moments`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.local_moments.reference import variance
from medloss.ops.masking import accumulation_dtype, blank, spatial_axes


def global_moments(input: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """See :func:`medloss.ops.global_moments.global_moments`."""
    dtype = accumulation_dtype(input)
    weight = torch.ones_like(input, dtype=dtype) if mask is None else mask.to(dtype).expand(input.shape)
    x, y = (blank(image.to(dtype), weight) for image in (input, target))
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
