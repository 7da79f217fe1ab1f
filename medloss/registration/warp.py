"""Reading a field at displaced places: in voxels of its grid, from displacements and points in the spacing's unit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medloss.ops import resample
from medloss.ops.masking import accumulation_dtype, blank, constants
from medloss.ops.operator import without_autocast


def warp(values: Tensor, field: Tensor, spacing: Sequence[float]) -> Tensor:
    """``values`` at x + u(x): B C [spatial], read linearly through a field B d [spatial] on the same grid.

    Beyond the border come the values at the border.
    """
    return resample(values, field, spacing=spacing)


def there_and_back(
    field: Tensor, inverse: Tensor, mask: Tensor | None, spacing: Sequence[float]
) -> tuple[Tensor, Tensor | None]:
    """How far a point comes back from where it started, u(x) + v(x + u(x)), B d [spatial]; and which ones count.

    Under a mask a point counts where it and all voxels that its displaced position lies between are valid. Nothing is
    read through autocast: what two fields leave of each other is small.
    """
    dtype = accumulation_dtype(field)
    with without_autocast(field.device.type):
        weight = None if mask is None else mask.to(dtype)
        u, v = (blank(each.to(dtype), weight) for each in (field, inverse))
        residual = u + warp(v, u, spacing)
        if weight is not None:
            outside = warp((weight <= 0).to(dtype), u.detach(), spacing)
            weight = torch.where(outside > 0, torch.zeros_like(weight), weight)
    return residual, weight


def moved(points: Tensor, field: Tensor, spacing: Sequence[float]) -> Tensor:
    """Points B N d, displaced by what the field B d [spatial] holds at each: p + u(p)."""
    sizes = constants(spacing, points)
    return points + resample(field, (points / sizes).movedim(-1, 1)).movedim(1, -1)
