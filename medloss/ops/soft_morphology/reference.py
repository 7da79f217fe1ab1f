"""``soft_morphology`` in plain torch: the specification of the operators, and what serves where no fast path can."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, spatial_axes
from medloss.ops.soft_morphology.pools import dilate, erode, erode_box, pick, read


def soft_skeleton(map: Tensor, mask: Tensor | None, iterations: int) -> Tensor:
    """See :func:`medloss.ops.soft_morphology.soft_skeleton`."""
    (map,), weight = prepared(mask, map)
    return skeleton_of(map, _valid(weight), iterations)


def max_pool(map: Tensor, mask: Tensor | None, size: int) -> Tensor:
    """See :func:`medloss.ops.soft_morphology.max_pool`."""
    (map,), weight = prepared(mask, map)
    return dilated(map, _valid(weight), size)


def skeleton_sums(input: Tensor, target: Tensor, mask: Tensor | None, iterations: int) -> Tensor:
    """See :func:`medloss.ops.soft_morphology.skeleton_sums`."""
    maps, weight = prepared(mask, input, target)
    skeletons = [skeleton_of(map, _valid(weight), iterations) for map in maps]
    return crossed_sums(skeletons, maps, weight)


def boundary_sums(input: Tensor, target: Tensor, mask: Tensor | None, inner: int, outer: int) -> Tensor:
    """See :func:`medloss.ops.soft_morphology.boundary_sums`."""
    maps, weight = prepared(mask, input, target)
    valid = _valid(weight)
    boundaries = [map - read(map, erode_box(pick(map), valid, inner), valid) for map in maps]
    return crossed_sums(boundaries, [dilated(boundary, valid, outer) for boundary in boundaries], weight)


def erosion_hausdorff(input: Tensor, target: Tensor, mask: Tensor | None, alpha: float, k: int) -> Tensor:
    """See :func:`medloss.ops.soft_morphology.erosion_hausdorff`."""
    (input, target), weight = prepared(mask, input, target)
    error = (input - target) ** 2
    total = torch.zeros_like(error)
    for step in range(1, k + 1):
        mean = cross_mean(error)
        error = torch.where(mean < 0.5, torch.zeros_like(mean), mean - 0.5)  # with a slope of 1 at one half
        error = blank(stretched(error, _valid(weight)), weight)
        total = total + float(step) ** alpha * error
    return total


def prepared(mask: Tensor | None, *maps: Tensor) -> tuple[list[Tensor], Tensor | None]:
    """The maps in the accumulation dtype, zero where nothing counts, and the weight of each voxel."""
    dtype = accumulation_dtype(maps[0])
    weight = None if mask is None else mask.to(dtype).expand_as(maps[0])
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
