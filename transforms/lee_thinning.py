"""Thinning by Lee et al.: like :mod:`medloss.transforms.thinning` from one side after the other, but voxel by voxel.

The order of sides and of voxels is that of scikit-image, so that the skeletons are equal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.transforms.thinning import neighbours, several, simple

SIDES = ((1, -1), (1, 1), (2, 1), (2, -1), (0, 1), (0, -1))
"""Axis and direction of the sides that are peeled, in this order; of a single slice the first four."""


def lee(region: Tensor) -> Tensor:
    """The centreline of a region of two or three axes, as a mask of its shape; a plane is a volume of one slice."""
    if region.ndim == 2:
        return lee(region[None])[0]
    volume = torch.nn.functional.pad(region.to(torch.bool), [1, 1] * 3)
    flat, strides = volume.view(-1), volume.stride()
    offsets = (neighbours(3).offsets * torch.tensor(strides, device="cpu")).sum(1).to(region.device)
    inside, left = flat.nonzero()[:, 0], -1
    while left != len(inside):
        left = len(inside)
        for axis, direction in SIDES if len(region) > 1 else SIDES[:4]:
            bare = inside[~flat[inside + strides[axis] * direction]]
            nearby = flat[bare[:, None] + offsets]
            _peel_in_order(flat, bare[(nearby.sum(1) > 1) & simple(nearby, 3)], offsets)
            inside = inside[flat[inside]]
    return volume[1:-1, 1:-1, 1:-1]


def _peel_in_order(flat: Tensor, candidates: Tensor, offsets: Tensor) -> None:
    """Take off the candidates one by one in the order of their places, but where their neighbours would fall apart.

    Only neighbours matter to each other: at once go all that have no earlier neighbour to wait for.
    """
    waiting = torch.zeros_like(flat)
    waiting[candidates] = True
    earlier = offsets[offsets < 0]
    while len(candidates):
        ready = ~waiting[candidates[:, None] + earlier].any(1)
        now, candidates = candidates[ready], candidates[~ready]
        flat[now[~several(flat[now[:, None] + offsets], 3)]] = False
        waiting[now] = False
