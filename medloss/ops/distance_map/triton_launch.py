"""The GPU path of ``distance_map``, ``border_distance``, ``nearest_source``: one launch for each axis."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.triton_numbers import packed
from medloss.ops.triton_tiles import tiles

AXES = 3
REALS = (torch.float32, torch.float64)
KINDS = ["distance", "square", "signed"]
"""What is made of the distance to the border, by the kernel's numbers."""


class TritonDistanceMap:
    """Whole lines of voxels at once, each looking outwards, in float64 as the reference."""

    name = "triton"

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernel cannot serve; empty where it can."""
        sources = args[0]
        found = triton_path.reasons(sources)
        if not 1 <= sources.ndim - 2 <= AXES:
            found.append(f"sources have {sources.ndim - 2} spatial axes, the kernel takes 1 to {AXES}")
        if sources.numel() == 0:
            found.append("there are no voxels")
        if self.kernel != "nearest_source" and args[2] not in REALS:
            found.append(f"the result is {args[2]}, the kernel gives float32 and float64")
        if needs is not None:
            found.append("a distance has no gradient")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C [spatial]."""
        from medloss.ops.distance_map import triton_kernels as kernels

        sources, spacing = args[:2]
        nearest, border = self.kernel == "nearest_source", self.kernel == "border_distance"
        spatial, unit = sources.shape[2:], min(spacing)
        sizes = (1,) * (AXES - len(spatial)) + tuple(spatial)
        steps = [size / unit for size in spacing]
        lines = sources.numel() // sizes[2]
        tile = tiles(lines, sizes[2], torch.float64)
        squared = places = sides = sources.contiguous().view(torch.uint8)
        live = _live(sources.reshape(-1, *sizes), border)
        kind = KINDS.index(args[3]) if border else 0
        axes = list(range(AXES - len(spatial), AXES))
        with triton_path.on_device(sources):
            for axis in reversed(axes):
                first, last = axis == axes[-1], axis == axes[0]
                numbers = packed((steps[axis - AXES] ** 2, unit), torch.float64)
                dtype = torch.float64 if nearest or not last else args[2]
                result = squared if nearest and last else sources.new_empty(sources.shape, dtype=dtype)
                found = sources.new_empty(sources.shape, dtype=torch.int64) if nearest else result
                kernels.along[(tile.programs(lines),)](
                    squared, places, sides, live[axis], result, found, numbers, lines, *sizes,
                    FIRST=first, LAST=last, NEAREST=nearest, BORDER=border, KIND=kind, AXIS=axis, **tile.options,
                    enable_fp_fusion=False,  # products are rounded before they are added, or ties would be none
                )  # fmt: skip
                squared, places = result, found
        return places if nearest else squared

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """There is none."""
        raise NotImplementedError(f"{self.kernel} has no gradient")


def _live(sources: Tensor, border: bool) -> list[Tensor]:
    """Which volumes, which planes and which rows have a source, or voxels on both sides of a border."""
    found, some, every = [], sources, sources
    for _ in range(AXES):
        some = some.any(-1)
        every = every.all(-1) if border else every
        found.append((some & ~every if border else some).contiguous().view(torch.uint8))
    return found[::-1]
