"""``global_moments``: variances and covariance of two images over all voxels, per sample and channel."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.local_moments.reference import variance
from medloss.ops.operator import Operator
from medloss.ops.voxels import accumulation_dtype, blank, spatial_axes

__all__ = ["global_moments"]


def reference(input: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """See :func:`global_moments`. Plain torch: the specification of the operator."""
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


def _fake(input: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    return input.new_empty((*input.shape[:2], 4), dtype=accumulation_dtype(input))


OPERATOR = Operator("global_moments", reference, _fake)


def global_moments(input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """The sum of the voxel weights, the covariance of two images, and the variance of each.

    Args:
        input: image, B C [spatial], any floating dtype.
        target: image, B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Nothing under a zero is looked at.

    Returns:
        B C 4, float64 for double input and float32 otherwise. An image whose variance is no more than the rounding of
        its sums is constant: its variance and covariance are 0.
    """
    return OPERATOR(input, target, mask)
