"""The GPU path of ``distance_map``, ``border_distance``, ``nearest_source``: one launch for each axis."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.distance_map.reference import BorderArguments, DistanceArguments, NearestArguments
from medloss.ops.triton_numbers import packed
from medloss.ops.triton_tiles import tiles

AXES = 3
KINDS = ["distance", "square", "signed"]
"""What is made of the distance to the border, by the kernel's numbers."""


class TritonDistanceMap(triton_path.TritonPath[DistanceArguments]):
    """The distance to the nearest source."""

    differentiable = ()

    def unfit(self, args: DistanceArguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return args.misfits() + _empty(args.sources)

    def forward(self, args: DistanceArguments) -> Tensor:
        """B C [spatial]."""
        return _along_axes(args.sources, args.spacing, args.dtype, nearest=False, border=False, kind="distance")


class TritonBorderDistance(triton_path.TritonPath[BorderArguments]):
    """The distance to the nearest voxel on the other side."""

    differentiable = ()

    def unfit(self, args: BorderArguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return args.misfits() + _empty(args.inside)

    def forward(self, args: BorderArguments) -> Tensor:
        """B C [spatial]."""
        return _along_axes(args.inside, args.spacing, args.dtype, nearest=False, border=True, kind=args.kind)


class TritonNearestSource(triton_path.TritonPath[NearestArguments]):
    """The nearest source."""

    differentiable = ()

    def unfit(self, args: NearestArguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return args.misfits() + _empty(args.sources)

    def forward(self, args: NearestArguments) -> Tensor:
        """B C [spatial]."""
        return _along_axes(args.sources, args.spacing, torch.float64, nearest=True, border=False, kind="distance")


def _empty(sources: Tensor) -> list[str]:
    return [] if sources.numel() else ["there are no voxels"]


def _along_axes(
    sources: Tensor, spacing: list[float], real: torch.dtype, *, nearest: bool, border: bool, kind: str
) -> Tensor:
    """Whole lines of voxels at once, each looking outwards, in float64 as the reference."""
    from medloss.ops.distance_map import triton_kernels as kernels

    spatial, unit = sources.shape[2:], min(spacing)
    sizes = (1,) * (AXES - len(spatial)) + tuple(spatial)
    steps = [size / unit for size in spacing]
    lines = sources.numel() // sizes[2]
    tile = tiles(lines, sizes[2], torch.float64)
    squared = places = sides = sources.contiguous().view(torch.uint8)
    live = _live(sources.reshape(-1, *sizes), border)
    axes = list(range(AXES - len(spatial), AXES))
    with triton_path.on_device(sources):
        for axis in reversed(axes):
            first, last = axis == axes[-1], axis == axes[0]
            numbers = packed((steps[axis - AXES] ** 2, unit), torch.float64)
            dtype = torch.float64 if nearest or not last else real
            result = squared if nearest and last else sources.new_empty(sources.shape, dtype=dtype)
            found = sources.new_empty(sources.shape, dtype=torch.int64) if nearest else result
            kernels.along[(tile.programs(lines),)](
                squared, places, sides, live[axis], result, found, numbers, lines, *sizes, FIRST=first, LAST=last,
                NEAREST=nearest, BORDER=border, KIND=KINDS.index(kind), AXIS=axis, **tile.options,
                enable_fp_fusion=False,  # products are rounded before they are added, or ties would be none
            )  # fmt: skip
            squared, places = result, found
    return places if nearest else squared


def _live(sources: Tensor, border: bool) -> list[Tensor]:
    """Which volumes, which planes and which rows have a source, or voxels on both sides of a border."""
    found, some, every = [], sources, sources
    for _ in range(AXES):
        some = some.any(-1)
        every = every.all(-1) if border else every
        found.append((some & ~every if border else some).contiguous().view(torch.uint8))
    return found[::-1]
