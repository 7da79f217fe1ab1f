"""``soft_morphology`` in plain torch: the specification of the operators, and what serves where no fast path can."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, spatial_axes
from medloss.ops.misfits import axes_misfits
from medloss.ops.soft_morphology.pools import dilate, erode, erode_box, pick, read


class SkeletonArguments(NamedTuple):
    """What ``soft_skeleton`` is given."""

    map: Tensor
    mask: Tensor | None
    iterations: int


class PoolArguments(NamedTuple):
    """What ``max_pool`` is given."""

    map: Tensor
    mask: Tensor | None
    size: int


class SkeletonSumsArguments(NamedTuple):
    """What ``skeleton_sums`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    iterations: int


class BoundarySumsArguments(NamedTuple):
    """What ``boundary_sums`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    inner: int
    outer: int


class ErosionArguments(NamedTuple):
    """What ``erosion_hausdorff`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    alpha: float
    k: int


OfOneMap = SkeletonArguments | PoolArguments
Arguments = OfOneMap | SkeletonSumsArguments | BoundarySumsArguments | ErosionArguments


def maps_of(args: Arguments) -> tuple[Tensor, ...]:
    """What the mask is of."""
    return (args.map,) if isinstance(args, OfOneMap) else (args.input, args.target)


def misfits(args: Arguments) -> list[str]:
    """Why no kernel can take these arguments; empty where one can."""
    map = maps_of(args)[0]
    return axes_misfits(map) + ([] if map.numel() else ["there are no voxels"])


def soft_skeleton(args: SkeletonArguments) -> Tensor:
    """See :func:`medloss.ops.soft_morphology.soft_skeleton`."""
    (map,), weight = prepared(args)
    return skeleton_of(map, _valid(weight), args.iterations)


def max_pool(args: PoolArguments) -> Tensor:
    """See :func:`medloss.ops.soft_morphology.max_pool`."""
    (map,), weight = prepared(args)
    return dilated(map, _valid(weight), args.size)


def skeleton_sums(args: SkeletonSumsArguments) -> Tensor:
    """See :func:`medloss.ops.soft_morphology.skeleton_sums`."""
    maps, weight = prepared(args)
    skeletons = [skeleton_of(map, _valid(weight), args.iterations) for map in maps]
    return crossed_sums(skeletons, maps, weight)


def boundary_sums(args: BoundarySumsArguments) -> Tensor:
    """See :func:`medloss.ops.soft_morphology.boundary_sums`."""
    maps, weight = prepared(args)
    valid = _valid(weight)
    boundaries = [map - read(map, erode_box(pick(map), valid, args.inner), valid) for map in maps]
    return crossed_sums(boundaries, [dilated(boundary, valid, args.outer) for boundary in boundaries], weight)


def erosion_hausdorff(args: ErosionArguments) -> Tensor:
    """See :func:`medloss.ops.soft_morphology.erosion_hausdorff`."""
    (input, target), weight = prepared(args)
    error = (input - target) ** 2
    total = torch.zeros_like(error)
    for step in range(1, args.k + 1):
        mean = cross_mean(error)
        error = torch.where(mean < 0.5, torch.zeros_like(mean), mean - 0.5)  # with a slope of 1 at one half
        error = blank(stretched(error, _valid(weight)), weight)
        total = total + float(step) ** args.alpha * error
    return total


def prepared(args: Arguments) -> tuple[list[Tensor], Tensor | None]:
    """The maps in the accumulation dtype, zero where nothing counts, and the weight of each voxel."""
    maps = maps_of(args)
    dtype = accumulation_dtype(maps[0])
    weight = None if args.mask is None else args.mask.to(dtype).expand_as(maps[0])
    return [blank(map.to(dtype), weight) for map in maps], weight


def _valid(weight: Tensor | None) -> Tensor | None:
    return None if weight is None else weight > 0


def skeleton_of(map: Tensor, valid: Tensor | None, iterations: int) -> Tensor:
    """What opening takes off the map, and off each of its erosions, joined as probabilities are."""
    level, eroded = map, erode(pick(map), valid)
    skeleton = torch.relu(level - read(map, dilate(eroded, valid, 3), valid))
    for _ in range(iterations):
        level, eroded = read(map, eroded, valid), erode(eroded, valid)
        ridge = torch.relu(level - read(map, dilate(eroded, valid, 3), valid))
        skeleton = skeleton + torch.relu(ridge - skeleton * ridge)
    return skeleton


def dilated(map: Tensor, valid: Tensor | None, size: int) -> Tensor:
    """The largest value in the box around each voxel."""
    return read(map, dilate(pick(map), valid, size), valid)


def crossed_sums(thin: list[Tensor], wide: list[Tensor], weight: Tensor | None) -> Tensor:
    """How much of what is thin in one lies in what is wide in the other, and its whole: B C 4, prediction first."""
    axes = spatial_axes(thin[0])
    columns = [thin[0] * wide[1], thin[0], thin[1] * wide[0], thin[1]]
    return torch.stack([(c if weight is None else c * weight).sum(axes) for c in columns], -1)


def cross_mean(map: Tensor) -> Tensor:
    """The mean over each voxel and its neighbours along the axes; zeros lie beyond the border."""
    total = map
    for axis in spatial_axes(map):
        padded = torch.nn.functional.pad(map, [0, 0] * (map.ndim - axis - 1) + [1, 1])
        size = map.shape[axis]
        total = total + padded.narrow(axis, 0, size) + padded.narrow(axis, 2, size)
    return total / (2 * (map.ndim - 2) + 1)


def stretched(map: Tensor, valid: Tensor | None) -> Tensor:
    """The map scaled to run from 0 to 1 over the voxels that count; a constant one as it is."""
    axes = spatial_axes(map)
    low = (map if valid is None else torch.where(valid, map, torch.inf)).amin(axes, keepdim=True)
    high = (map if valid is None else torch.where(valid, map, -torch.inf)).amax(axes, keepdim=True)
    varies = high > low
    low, span = torch.where(varies, low, 0.0), torch.where(varies, high - low, 1.0)
    return torch.where(varies, (map - low) / span, map)
