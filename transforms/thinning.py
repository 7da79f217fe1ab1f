"""Thinning: a region peeled down to its centreline, without breaking, joining or piercing anything.

A voxel is simple if its removal leaves the topology as it is: its neighbours inside the region hang together without
it, and so do those outside (touching by faces). A region is peeled from each side in turn. Voxels of one parity along
every axis do not touch each other, so the simple ones among them can go at once.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class Neighbours(NamedTuple):
    """The 8 or 26 neighbours of a voxel.

    Attributes:
        offsets: where they are, K axes.
        touching: which of them touch each other, by corners too, K K.
        joined: which of them touch by a face, K K; in a volume without its 8 corners, from where no path by faces
            stays near.
        faces: which of them touch the voxel itself by a face, K.
    """

    offsets: Tensor
    touching: Tensor
    joined: Tensor
    faces: Tensor


@lru_cache
def neighbours(axes: int) -> Neighbours:
    """Those of a voxel in a plane or a volume."""
    offsets = torch.tensor([step for step in itertools.product((-1, 0, 1), repeat=axes) if any(step)], device="cpu")
    apart = (offsets[:, None] - offsets[None]).abs()
    near = offsets.abs().sum(1) < 3
    joined = (apart.sum(-1) == 1) & near[:, None] & near
    return Neighbours(offsets, (apart.amax(-1) == 1).float(), joined.float(), offsets.abs().sum(1) == 1)


def thinned(region: Tensor) -> Tensor:
    """The centreline of a region of two or three axes, as a mask of its shape.

    Ends of lines stay, and so does one voxel of what is a blob. What lies outside the volume is not in the region.
    """
    axes = region.ndim
    volume = torch.nn.functional.pad(region.to(torch.bool), [1, 1] * axes)
    flat, strides = volume.view(-1), torch.tensor(volume.stride(), device=region.device)
    around = (neighbours(axes).offsets.to(region.device) * strides).sum(1)
    places = volume.nonzero()
    parity = (places % 2 * 2 ** torch.arange(axes, device=region.device)).sum(1)
    inside = (places * strides).sum(1)
    left = -1
    while left != len(inside):
        left = len(inside)
        for side in (*strides.tolist(), *(-strides).tolist()):
            _peel(flat, inside, parity, side, around, axes)
            kept = flat[inside]
            inside, parity = inside[kept], parity[kept]
    return volume[(slice(1, -1),) * axes]


def _peel(flat: Tensor, inside: Tensor, parity: Tensor, side: int, around: Tensor, axes: int) -> None:
    """Take off the simple voxels that have nothing on one side, but for the ends of lines."""
    bare = ~flat[inside + side]
    inside, parity = inside[bare], parity[bare]
    nearby = flat[inside[:, None] + around]
    loose = (nearby.sum(1) > 1) & simple(nearby, axes)
    inside, parity = inside[loose], parity[loose]
    for group in range(2**axes):
        members = inside[parity == group]
        flat[members[simple(flat[members[:, None] + around], axes)]] = False


def simple(nearby: Tensor, axes: int) -> Tensor:
    """Which of M voxels are simple, from their neighbours M K inside the region."""
    _, _, joined, faces = (part.to(nearby.device) for part in neighbours(axes))
    bare = ~nearby & faces
    split = (bare & ~_spread(bare, ~nearby, joined)).any(1)
    return nearby.any(1) & bare.any(1) & ~split & ~several(nearby, axes)


def several(nearby: Tensor, axes: int) -> Tensor:
    """Of which of M voxels the neighbours M K inside the region are several parts, which do not touch without it."""
    touching = neighbours(axes).touching.to(nearby.device)
    return (nearby & ~_spread(nearby, nearby, touching)).any(1)


def _spread(among: Tensor, allowed: Tensor, adjacent: Tensor) -> Tensor:
    """What the first of ``among`` reaches within ``allowed``, M K each."""
    reached = among & (among.cumsum(1) == 1)
    while True:
        grown = reached | ((reached.float() @ adjacent > 0) & allowed)
        if torch.equal(grown, reached):
            return reached
        reached = grown
