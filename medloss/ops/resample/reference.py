"""``resample`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, constants
from medloss.ops.misfits import axes_misfits


class Arguments(NamedTuple):
    """What ``resample`` is given."""

    values: Tensor
    positions: Tensor
    spacing: list[float] | None

    def misfits(self, most: int) -> list[str]:
        """Why no kernel that knows ``most`` voxels of a channel can take these arguments; empty where one can."""
        values, positions, found = self.values, self.positions, axes_misfits(self.values)
        rank = values.ndim - 2
        if positions.ndim < 3 or positions.shape[:2] != (values.shape[0], rank):
            found.append("there must be a position for each sample, with a component for each axis")
        elif self.spacing is not None and (positions.ndim != values.ndim or len(self.spacing) != rank):
            found.append("a field must have the axes of the values, and a spacing for each")
        if values.numel() == 0 or positions.numel() == 0:
            found.append("there is nothing to read, or nowhere")
        elif values[0, 0].numel() > most:
            found.append(f"a channel has more than {most} voxels")
        return found


def resample(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.resample.resample`."""
    dtype = accumulation_dtype(args.values)
    points = args.positions.to(dtype)
    if args.spacing is not None:
        points = grid(points) + points / constants(args.spacing, points).view(1, -1, *[1] * (points.ndim - 2))
    voxels, points = args.values.to(dtype).flatten(2), points.flatten(2)
    sizes = args.values.shape[2:]
    axes = [_bracket(points[:, axis], size) for axis, size in enumerate(sizes)]
    total = torch.zeros_like(voxels[:, :, :1])
    for corner in itertools.product((0, 1), repeat=len(sizes)):
        index = torch.zeros_like(axes[0][0])
        weight = torch.ones_like(axes[0][1])
        for (below, part), side, size in zip(axes, corner, sizes, strict=True):
            index = index * size + (below + side).clamp(max=size - 1)
            weight = weight * (part if side else 1 - part)
        picked = voxels.gather(2, index.unsqueeze(1).expand(-1, voxels.shape[1], -1))
        total = total + weight.unsqueeze(1) * picked
    return total.unflatten(2, args.positions.shape[2:])


def grid(field: Tensor) -> Tensor:
    """The coordinates of the voxels, 1 d [spatial], in the field's dtype and on its device."""
    axes = [torch.arange(size, dtype=field.dtype, device=field.device) for size in field.shape[2:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).unsqueeze(0)


def _bracket(at: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The voxel below each position along an axis, and how far the position lies above it, 0 to 1."""
    at = at.clamp(0, size - 1)
    below = at.detach().floor().long().clamp(0, max(size - 2, 0))  # NaN is no index: some voxel, and NaN as a weight
    return below, at - below
