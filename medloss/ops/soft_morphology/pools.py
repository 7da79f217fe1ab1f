"""Erosion and dilation that know where each value came from.

The winner of a window of windows is a voxel of the map itself. So the gradient of any chain of pools is one gather from
the map, however long the chain, and no pool keeps anything of its own.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor


class Picked(NamedTuple):
    """What a chain of pools has come to.

    Attributes:
        values: B C [spatial], without a gradient where ``places`` are there.
        places: the voxel of the map that each value is from, or None where nobody asks for a gradient.
    """

    values: Tensor
    places: Tensor | None


def pick(map: Tensor) -> Picked:
    """The start of a chain: each voxel's own value."""
    if not (torch.is_grad_enabled() and map.requires_grad):
        return Picked(map, None)
    shape = map.shape[2:]
    places = torch.arange(shape.numel(), device=map.device, dtype=torch.int32 if shape.numel() < 2**31 else torch.int64)
    return Picked(map.detach(), places.view(shape).expand(map.shape))


def read(map: Tensor, picked: Picked, valid: Tensor | None) -> Tensor:
    """The values that were picked, taken from the map with their gradient; zero where nothing counts."""
    values, places = picked
    if places is not None:
        values = map.flatten(2).gather(2, places.flatten(2).long()).view(map.shape)
    return values if valid is None else torch.where(valid, values, torch.zeros_like(values))


def dilate(picked: Picked, valid: Tensor | None, size: int) -> Picked:
    """The largest value of the valid voxels in the box of ``size`` around each."""
    picked = _seen(picked, valid)
    for axis in range(2, picked.values.ndim):
        picked = _along(picked, axis, size)
    return picked


def erode_box(picked: Picked, valid: Tensor | None, size: int) -> Picked:
    """The smallest value of the valid voxels in the box of ``size`` around each."""
    return _negated(dilate(_negated(picked), valid, size))


def erode(picked: Picked, valid: Tensor | None) -> Picked:
    """The smallest value of each voxel and its valid neighbours along the axes."""
    picked = _seen(_negated(picked), valid)
    return _negated(reduce(_larger, [_along(picked, axis, 3) for axis in range(2, picked.values.ndim)]))


def _negated(picked: Picked) -> Picked:
    return Picked(-picked.values, picked.places)


def _seen(picked: Picked, valid: Tensor | None) -> Picked:
    """Voxels that do not count win nowhere."""
    return picked if valid is None else Picked(torch.where(valid, picked.values, -torch.inf), picked.places)


def _larger(one: Picked, other: Picked) -> Picked:
    """Voxel by voxel; of two equal values the other's."""
    values = torch.maximum(one.values, other.values)
    if one.places is None or other.places is None:  # both, or none
        return Picked(values, None)
    return Picked(values, torch.where(one.values > other.values, one.places, other.places))


def _along(picked: Picked, axis: int, size: int) -> Picked:
    """The largest in a window along one axis, which doubles until it has its size; nothing lies beyond the border."""
    sides = [0, 0] * (picked.values.ndim - axis - 1) + [size // 2] * 2
    values, places = picked
    values = torch.nn.functional.pad(values, sides, value=-torch.inf)
    places = None if places is None else torch.nn.functional.pad(places, sides)
    reach = 1
    while reach < size:
        step = min(reach, size - reach)
        length = values.shape[axis] - step
        one, other = (
            Picked(values.narrow(axis, at, length), None if places is None else places.narrow(axis, at, length))
            for at in (0, step)
        )
        values, places = _larger(one, other)
        reach += step
    return Picked(values, places)
