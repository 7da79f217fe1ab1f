"""How well a transform is inverted, in mm."""

from __future__ import annotations

from typing import NamedTuple

import torch

from medloss.apps.registration.spatial import Affine, Chain, Field, Grid, Transform, apply, inside, slabs


class InversionError(NamedTuple):
    """Distances in mm between a point and where it comes back to.

    ``mean`` and ``largest`` are over the voxels of the inverse's grid, by the inverse and then by the transform: what
    the iteration left. ``between_mean`` and ``between_largest`` are over the voxels of the transform's first field, by
    the transform and then by the inverse: they also hold what linear interpolation between the inverse's voxels costs.
    ``without`` is the share of the inverse's voxels to which nothing of the field's grid is mapped: there is no
    inverse, and they are not counted.
    """

    mean: float
    largest: float
    between_mean: float
    between_largest: float
    without: float

    def __str__(self) -> str:
        told = (
            f"error of the inverse at its voxels: mean {self.mean:.3g} mm, max {self.largest:.3g} mm; "
            f"between them: mean {self.between_mean:.3g} mm, max {self.between_largest:.3g} mm"
        )
        return told + (f"; {100 * self.without:.3g} % of its voxels have no origin" if self.without else "")


def inversion_error(transform: Transform, inverse: Transform, grid: Grid) -> InversionError:
    """The error of ``inverse`` on ``grid``; NaN where there is no point to measure it at."""
    first = next((part for part in _parts(transform) if isinstance(part, Field)), None)
    distances, counted = [], 0
    for _, points in slabs(grid):
        back = inverse(points)
        valid = _within(back, first.grid) if first is not None and _parts(transform)[0] is first else None
        error = (transform(back) - points).norm(dim=0)
        distances.append(error if valid is None else error[valid])
        counted += points.shape[1]
    at_voxels = torch.cat(distances)
    between = at_voxels
    if first is not None and _parts(transform)[0] is first and not isinstance(inverse, Affine):
        distances = []
        for _, points in slabs(first.grid):
            landed = transform(points)
            distances.append((inverse(landed) - points).norm(dim=0)[_within(landed, grid, half=0.0)])
        between = torch.cat(distances)
    return InversionError(*_mean_and_largest(at_voxels), *_mean_and_largest(between), 1 - len(at_voxels) / counted)


def _parts(transform: Transform) -> list[Transform]:
    return transform.parts if isinstance(transform, Chain) else [transform]


def _within(points: torch.Tensor, grid: Grid, half: float = 0.5) -> torch.Tensor:
    """Whether points lie in a grid: in its volume, or with ``half=0`` between its voxel centres."""
    voxels = apply(torch.linalg.inv(torch.as_tensor(grid.affine)).numpy(), points)
    if half:
        return inside(voxels, grid.shape)
    last = torch.tensor(grid.shape, dtype=voxels.dtype)[:, None] - 1
    return ((voxels >= 0) & (voxels <= last)).all(0)


def _mean_and_largest(distances: torch.Tensor) -> tuple[float, float]:
    return (float(distances.mean()), float(distances.max())) if len(distances) else (float("nan"), float("nan"))
