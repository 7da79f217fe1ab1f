"""Tubes around skeletons, by a cross or by a box."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from medloss.ops.soft_morphology import max_pool

TUBES = ("cross", "box")
"""What a skeleton is dilated by."""


def widened(skeleton: Tensor, radius: int, tube: str) -> Tensor:
    """The largest value around each voxel, of values that are nowhere below 0.

    Args:
        skeleton: B C [spatial], floating; 0 where nothing counts.
        radius: in voxels.
        tube: ``"cross"`` for the voxels within ``radius`` steps along the axes, a diamond: that many dilations by the
            cross of a voxel and its neighbours along the axes. ``"box"`` for those within ``radius`` along every axis.
    """
    if tube == "box":
        return max_pool(skeleton, size=2 * radius + 1)
    for _ in range(radius):
        skeleton = _by_a_cross(skeleton)
    return skeleton


def _by_a_cross(map: Tensor) -> Tensor:
    """The largest of each voxel and its neighbours along the axes; beyond the border lies nothing."""
    largest = map
    for axis in range(2, map.ndim):
        padded = F.pad(map, [0, 0] * (map.ndim - axis - 1) + [1, 1])
        for at in (0, 2):
            largest = largest.maximum(padded.narrow(axis, at, map.shape[axis]))
    return largest
