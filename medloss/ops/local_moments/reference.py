"""``local_moments`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.voxels import accumulation_dtype, blank, spatial_axes


def local_moments(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    window: list[float],
    renormalise: bool,
    smooth_nr: float,
    smooth_dr: float,
    reduce: bool,
) -> Tensor:
    """See :func:`medloss.ops.local_moments.local_moments`."""
    dtype = accumulation_dtype(input)
    weight = None if mask is None else mask.to(dtype).expand(input.shape)
    x, y = blank(input.to(dtype), weight), blank(target.to(dtype), weight)
    axes = spatial_axes(x)
    if weight is None and not renormalise:
        # zeros beyond the border count as voxels: they are padded before the shift, so that they shift along
        x, y = (pad(z, len(window) // 2) - z.detach().mean(axes, keepdim=True) for z in (x, y))
        moments = smooth(torch.stack([x, y, x * x, y * y, x * y]), window, padded=True)
        mass = torch.full_like(moments[0], sum(window) ** len(axes))
    else:
        weight = torch.ones_like(x) if weight is None else weight
        total = weight.sum(axes, keepdim=True).clamp_min(torch.finfo(dtype).tiny)
        x = x - (x.detach() * weight).sum(axes, keepdim=True) / total
        y = y - (y.detach() * weight).sum(axes, keepdim=True) / total
        maps = [x * weight, y * weight, x * x * weight, y * y * weight, x * y * weight, weight]
        *moments, mass = smooth(torch.stack(maps), window, padded=False)
    result = correlation(*moments, mass, smooth_nr, smooth_dr)
    result = result if weight is None else result * weight
    return result.sum(axes) if reduce else result


def correlation(
    sum_x: Tensor, sum_y: Tensor, sum_xx: Tensor, sum_yy: Tensor, sum_xy: Tensor, mass: Tensor, nr: float, dr: float
) -> Tensor:
    """Squared correlation of each window from its sums; an empty or constant window has none."""
    mass = torch.where(mass > 0, mass, torch.ones_like(mass))
    cross = sum_xy - sum_x * sum_y / mass
    var_x = (sum_xx - sum_x * sum_x / mass).clamp_min(dr)
    var_y = (sum_yy - sum_y * sum_y / mass).clamp_min(dr)
    return (cross * cross + nr) / (var_x * var_y)


def pad(tensor: Tensor, by: int) -> Tensor:
    """Zeros on both sides of every spatial axis."""
    return torch.nn.functional.pad(tensor, [by, by] * (tensor.ndim - 2))


def smooth(maps: Tensor, window: list[float], padded: bool) -> Tensor:
    """Weighted sums over a separable window around each voxel, of maps K B C [spatial]."""
    rank = maps.ndim - 3
    kernel = maps.new_tensor(window)
    size = len(window)
    for axis in range(rank):
        # the axis goes last, where one-dimensional convolution finds it in any number of dimensions
        moved = maps.movedim(3 + axis, -1)
        flat = moved.reshape(-1, 1, moved.shape[-1])
        flat = torch.nn.functional.conv1d(flat, kernel.view(1, 1, size), padding=0 if padded else size // 2)
        maps = flat.view(*moved.shape[:-1], flat.shape[-1]).movedim(-1, 3 + axis)
    return maps
