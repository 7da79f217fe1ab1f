"""``components`` in plain torch: the specification of the operator, and what serves where no kernel can."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.misfits import axes_misfits


class Arguments(NamedTuple):
    """What ``components`` is given."""

    mask: Tensor
    connectivity: int

    def misfits(self) -> list[str]:
        """Why no kernel can take these arguments; empty where one can."""
        return axes_misfits(self.mask)


def components(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.components.components`."""
    mask = args.mask
    spatial = mask.shape[2:]
    voxels, nobody = spatial.numel(), spatial.numel()  # the index behind the last voxel stands for the background
    inside = mask.reshape(-1, voxels)
    own = torch.arange(voxels + 1, device=mask.device)
    parent = torch.where(torch.nn.functional.pad(inside, (0, 1)), own, nobody)
    while True:  # a parent is a voxel of the same component, of a lower index or oneself
        grid = parent[:, :voxels].view(-1, *spatial)
        least = torch.where(inside, least_neighbour(grid, args.connectivity, nobody).view_as(inside), nobody)
        told = parent.scatter_reduce(1, parent[:, :voxels], least, "amin")
        told = torch.minimum(told, torch.nn.functional.pad(least, (0, 1), value=nobody))
        told = told.gather(1, told)
        if bool((told == parent).all()):
            break
        parent = told
    first = inside & (parent[:, :voxels] == own[:voxels])
    number = torch.nn.functional.pad(first.cumsum(1), (0, 1))
    labels = number.gather(1, parent[:, :voxels])
    return torch.where(inside, labels, 0).view(mask.shape)


def least_neighbour(grid: Tensor, connectivity: int, border: int) -> Tensor:
    """The least value among every voxel and its neighbours, of a grid K [spatial]; ``border`` lies beyond it."""
    axes = grid.ndim - 1
    padded = torch.nn.functional.pad(grid, [1, 1] * axes, value=border)
    least = grid
    for offset in neighbours(axes, connectivity):
        shifted = padded
        for axis, step in enumerate(offset, start=1):
            shifted = shifted.narrow(axis, 1 + step, grid.shape[axis])
        least = torch.minimum(least, shifted)
    return least


def neighbours(axes: int, connectivity: int) -> Iterator[tuple[int, ...]]:
    """The steps to the neighbours: along at most ``connectivity`` axes at once."""
    for offset in itertools.product((-1, 0, 1), repeat=axes):
        if 0 < sum(map(abs, offset)) <= connectivity:
            yield offset
