"""Distances to sources and borders in plain torch: the specification, and what serves where no kernel can."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.masking import spatial_axes

CHUNK = 2**20
"""Candidates looked at together: 8 MiB of float64, whatever the volume."""


def distance_map(sources: Tensor, spacing: list[float], dtype: torch.dtype) -> Tensor:
    """See :func:`medloss.ops.distance_map.distance_map`."""
    unit = min(spacing)
    squared = squared_distance(sources, None, [size / unit for size in spacing])[0]
    reached = squared < torch.inf
    return (torch.where(reached, squared, 0.0).sqrt() * unit).to(dtype)


def border_distance(inside: Tensor, spacing: list[float], dtype: torch.dtype, kind: str) -> Tensor:
    """See :func:`medloss.ops.distance_map.border_distance`; ``kind``: ``"distance"``, ``"square"`` or ``"signed"``."""
    distance = torch.where(inside, distance_map(~inside, spacing, dtype), distance_map(inside, spacing, dtype))
    return of_kind(distance, inside, spacing, kind)


def of_kind(distance: Tensor, inside: Tensor, spacing: list[float], kind: str) -> Tensor:
    """What is made of the distance to the border: itself, its square, or a map that is negative inside."""
    if kind == "square":
        return distance * distance
    if kind == "distance":
        return distance
    return torch.where(inside, 0.0 - (distance - min(spacing)).clamp_min(0.0), distance)


def nearest_source(sources: Tensor, spacing: list[float]) -> Tensor:
    """See :func:`medloss.ops.distance_map.nearest_source`."""
    unit, spatial = min(spacing), sources.shape[2:]
    index = torch.arange(spatial.numel(), device=sources.device).view(spatial).expand(sources.shape)
    squared, nearest = squared_distance(sources, index, [size / unit for size in spacing])
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
