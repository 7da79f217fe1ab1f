"""Distances to sources and borders in plain torch: the specification, and what serves where no kernel can."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import spatial_axes
from medloss.ops.misfits import axes_misfits

CHUNK = 2**20
"""Candidates looked at together: 8 MiB of float64, whatever the volume."""


class DistanceArguments(NamedTuple):
    """What ``distance_map`` is given."""

    sources: Tensor
    spacing: list[float]
    dtype: torch.dtype

    def misfits(self) -> list[str]:
        """Why no kernel can take these arguments; empty where one can."""
        return axes_misfits(self.sources) + result_misfits(self.dtype)


class BorderArguments(NamedTuple):
    """What ``border_distance`` is given; ``kind``: ``"distance"``, ``"square"`` or ``"signed"``."""

    inside: Tensor
    spacing: list[float]
    dtype: torch.dtype
    kind: str

    def misfits(self) -> list[str]:
        """Why no kernel can take these arguments; empty where one can."""
        return axes_misfits(self.inside) + result_misfits(self.dtype)


class NearestArguments(NamedTuple):
    """What ``nearest_source`` is given."""

    sources: Tensor
    spacing: list[float]

    def misfits(self) -> list[str]:
        """Why no kernel can take these arguments; empty where one can."""
        return axes_misfits(self.sources)


def result_misfits(dtype: torch.dtype) -> list[str]:
    """Whether kernels give a result of this dtype."""
    known = dtype in (torch.float32, torch.float64)
    return [] if known else [f"the result is {dtype}, the kernel gives float32 and float64"]


def distance_map(args: DistanceArguments) -> Tensor:
    """See :func:`medloss.ops.distance_map.distance_map`."""
    unit = min(args.spacing)
    squared = squared_distance(args.sources, None, [size / unit for size in args.spacing])[0]
    reached = squared < torch.inf
    return (torch.where(reached, squared, 0.0).sqrt() * unit).to(args.dtype)


def border_distance(args: BorderArguments) -> Tensor:
    """See :func:`medloss.ops.distance_map.border_distance`."""
    inside, spacing, dtype, kind = args
    to_outside, to_inside = (distance_map(DistanceArguments(side, spacing, dtype)) for side in (~inside, inside))
    return of_kind(torch.where(inside, to_outside, to_inside), inside, spacing, kind)


def of_kind(distance: Tensor, inside: Tensor, spacing: list[float], kind: str) -> Tensor:
    """What is made of the distance to the border: itself, its square, or a map that is negative inside."""
    if kind == "square":
        return distance * distance
    if kind == "distance":
        return distance
    return torch.where(inside, 0.0 - (distance - min(spacing)).clamp_min(0.0), distance)


def nearest_source(args: NearestArguments) -> Tensor:
    """See :func:`medloss.ops.distance_map.nearest_source`."""
    sources, unit, spatial = args.sources, min(args.spacing), args.sources.shape[2:]
    index = torch.arange(spatial.numel(), device=sources.device).view(spatial).expand(sources.shape)
    squared, nearest = squared_distance(sources, index, [size / unit for size in args.spacing])
    assert nearest is not None  # as there is an index
    return torch.where(squared < torch.inf, nearest, -1)


def squared_distance(sources: Tensor, index: Tensor | None, steps: list[float]) -> tuple[Tensor, Tensor | None]:
    """The squared distance to the nearest source (infinite without any), and its ``index`` where that is given.

    Axis by axis, from the last to the first: among equals the line's first candidate wins, which is then the source of
    the lowest index. Steps are those of the grid over the smallest one, so that a cubic grid counts in whole numbers.
    """
    real = torch.float32 if sources.device.type == "mps" else torch.float64
    squared = torch.where(sources, 0.0, torch.inf).to(real)
    for axis in reversed(spatial_axes(sources)):
        squared, index = along(squared, index, axis, steps[axis - 2])
    return squared.contiguous(), index if index is None else index.contiguous()


def along(squared: Tensor, index: Tensor | None, axis: int, step: float) -> tuple[Tensor, Tensor | None]:
    """One axis: of every voxel of a line the best, by its own value and the square of the way to it."""
    lines, size = squared.movedim(axis, -1).contiguous(), squared.shape[axis]
    place = torch.arange(size, device=squared.device, dtype=squared.dtype)
    ways = step * step * (place[:, None] - place) ** 2
    chunks = lines.view(-1, 1, size).split(max(1, CHUNK // (size * size)))
    if index is None:
        best = torch.cat([(chunk + ways).amin(-1) for chunk in chunks])
    else:
        found = [(chunk + ways).min(-1) for chunk in chunks]
        best = torch.cat([values for values, _ in found])
        taken = torch.cat([places for _, places in found])
        index = index.movedim(axis, -1).reshape(-1, size).gather(1, taken).view(lines.shape).movedim(-1, axis)
    return best.view(lines.shape).movedim(-1, axis), index
