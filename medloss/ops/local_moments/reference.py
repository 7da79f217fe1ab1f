"""``local_moments`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.local_moments.arguments import MomentsArguments
from medloss.ops.masking import accumulation_dtype, blank, spatial_axes

ROUNDING = 32
"""Units of the last place by which the sums of a window may be off. Without it the rounding of a constant background,
far from the mean that was taken off, correlates with itself."""


def local_moments(args: MomentsArguments) -> Tensor:
    """See :func:`medloss.ops.local_moments.local_moments`."""
    input, window = args.input, args.window
    dtype = accumulation_dtype(input)
    weight = None if args.mask is None else args.mask.to(dtype).expand(input.shape)
    x, y = blank(input.to(dtype), weight), blank(args.target.to(dtype), weight)
    axes = spatial_axes(x)
    if weight is None and not args.renormalise:
        # zeros beyond the border count as voxels: they are padded before the shift, so that they shift along
        x, y = (pad(z, len(window) // 2) - z.detach().mean(axes, keepdim=True) for z in (x, y))
        moments = smooth(torch.stack([x, y, x * x, y * y, x * y]), [window] * len(axes), padded=True)
        mass = torch.full_like(moments[0], sum(window) ** len(axes))
    else:
        weight = torch.ones_like(x) if weight is None else weight
        total = weight.sum(axes, keepdim=True).clamp_min(torch.finfo(dtype).tiny)
        x = x - (x.detach() * weight).sum(axes, keepdim=True) / total
        y = y - (y.detach() * weight).sum(axes, keepdim=True) / total
        maps = [x * weight, y * weight, x * x * weight, y * y * weight, x * y * weight, weight]
        moments = smooth(torch.stack(maps), [window] * len(axes), padded=False)
        mass = moments[5]
    sums = (moments[0], moments[1], moments[2], moments[3], moments[4])
    result = correlation(*sums, mass, args.smooth_nr, args.smooth_dr)
    result = result if weight is None else result * weight
    return result.sum(axes) if args.reduce else result


def correlation(
    sum_x: Tensor, sum_y: Tensor, sum_xx: Tensor, sum_yy: Tensor, sum_xy: Tensor, mass: Tensor, nr: float, dr: float
) -> Tensor:
    """Squared correlation of each window from its sums; an empty or constant window has none."""
    mass = torch.where(mass > 0, mass, torch.ones_like(mass))
    var_x, flat_x = variance(sum_x, sum_xx, mass)
    var_y, flat_y = variance(sum_y, sum_yy, mass)
    cross = sum_xy - sum_x * sum_y / mass
    cross = torch.where(flat_x | flat_y, torch.zeros_like(cross), cross)
    return (cross * cross + nr) / (var_x.clamp_min(dr) * var_y.clamp_min(dr))


def variance(total: Tensor, squares: Tensor, mass: Tensor | float) -> tuple[Tensor, Tensor]:
    """The variance of each window times its mass, and where it is no more than rounding: 0 there, as for a constant."""
    found = squares - total * total / mass
    flat = found <= ROUNDING * torch.finfo(found.dtype).eps * squares
    return torch.where(flat, torch.zeros_like(found), found), flat


def pad(tensor: Tensor, by: int) -> Tensor:
    """Zeros on both sides of every spatial axis."""
    return torch.nn.functional.pad(tensor, [by, by] * (tensor.ndim - 2))


def smooth(maps: Tensor, windows: list[list[float]], padded: bool) -> Tensor:
    """Weighted sums over a separable window around each voxel, of maps K B C [spatial], one list of weights per axis.

    Shifted maps are added one by one, axis by axis: for one channel that is faster than a convolution.
    """
    for axis, window in enumerate(windows, start=3):
        if not padded:
            maps = torch.nn.functional.pad(maps, [0, 0] * (maps.ndim - axis - 1) + [len(window) // 2] * 2)
        size = maps.shape[axis] - len(window) + 1
        total = window[0] * maps.narrow(axis, 0, size)
        for offset, weight in enumerate(window[1:], start=1):
            total = torch.add(total, maps.narrow(axis, offset, size), alpha=weight)
        maps = total
    return maps
