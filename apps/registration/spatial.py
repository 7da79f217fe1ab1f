"""Transforms as functions of points in world millimetres (RAS): affine maps, displacement fields, their inverses, and
chains of them.

Every transform maps a point of the fixed image's world to the point of the moving image's world that belongs to it, as
ITK's do. Points are moved by it; an image is read there ("pulled") and so comes to lie on the fixed grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from medloss.apps.registration.geometry import grid_points
from medloss.ops.resample import resample

CHUNK = 1 << 17
"""Points that are mapped at once: some 20 MB beside the fields."""
ITERATIONS = 100
TOLERANCE = 1e-4
"""Of a voxel: where the iteration for an inverse ends."""
FIT_POINTS = 20_000


class Grid(NamedTuple):
    """Where voxels lie: ``shape`` (i, j, k) and ``affine``, 4 x 4, voxel to RAS mm."""

    shape: tuple[int, ...]
    affine: np.ndarray


def apply(matrix: np.ndarray, points: Tensor) -> Tensor:
    """An affine map, 4 x 4, of points ``(3, n)``, float64."""
    full = torch.as_tensor(np.asarray(matrix, np.float64))
    return full[:3, :3] @ points + full[:3, 3:]


class Transform:
    """A map of points ``(3, n)``, float64, RAS mm."""

    def __call__(self, points: Tensor) -> Tensor:
        raise NotImplementedError

    def inverse(self) -> Transform:
        """The map back."""
        raise NotImplementedError


class Affine(Transform):
    """An affine map: ``matrix``, 4 x 4, RAS mm to RAS mm."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = np.asarray(matrix, np.float64)

    def __call__(self, points: Tensor) -> Tensor:
        return apply(self.matrix, points)

    def inverse(self) -> Affine:
        """Exactly."""
        return Affine(np.linalg.inv(self.matrix))


class Field(Transform):
    """A displacement field, linear between its voxels; beyond its grid nothing moves, as in ITK and ANTs.

    Args:
        vectors: ``(3, i, j, k)``, float32, RAS mm.
        affine: 4 x 4 of its grid, voxel to RAS mm.
    """

    def __init__(self, vectors: Tensor, affine: np.ndarray) -> None:
        self.vectors = vectors.float()
        self.grid = Grid(tuple(vectors.shape[1:]), np.asarray(affine, np.float64))
        self.to_voxels = np.linalg.inv(self.grid.affine)

    def __call__(self, points: Tensor) -> Tensor:
        voxels = apply(self.to_voxels, points)
        return torch.where(inside(voxels, self.grid.shape), points + self.at(voxels), points)

    def at(self, voxels: Tensor) -> Tensor:
        """The displacement ``(3, n)``, RAS mm, at voxel coordinates; beyond the border that of the border."""
        return resample(self.vectors[None], voxels[None].float())[0].double()

    def inverse(self) -> InverseField:
        """By iteration, at each point that is asked for."""
        return InverseField(self)


class InverseField(Transform):
    """The inverse of a displacement field, found for each point by fixed-point iteration.

    It looks for the ``y`` with ``y + u(y) = x`` by ``y <- y - s M^-1 (y + u(y) - x)``. ``M`` is the linear part of the
    affine map that is nearest to the field: a rotation or scaling that is in the field is inverted by it at once, and
    the iteration converges where the rest of the field is less steep than 1. ``s`` is 1, and is halved at a point
    whose error would grow. Beyond its grid the field is continued by ``M``, without a jump.
    """

    def __init__(self, field: Field) -> None:
        self.field = field
        self.nearest = _nearest_affine(field)
        self.back = np.linalg.inv(self.nearest)

    def __call__(self, points: Tensor) -> Tensor:
        found, error = apply(self.back, points), torch.empty(0)
        linear = torch.as_tensor(self.back[:3, :3])
        error = self._continued(found) - points
        step = torch.ones(points.shape[1], dtype=torch.float64)
        tolerance = TOLERANCE * float(np.linalg.norm(self.field.grid.affine[:3, :3], axis=0).min())
        for _ in range(ITERATIONS):
            open_ = torch.nonzero((error.norm(dim=0) > tolerance) & (step > 1e-3)).flatten()
            if not len(open_):
                break
            tried = found[:, open_] - step[open_] * (linear @ error[:, open_])
            left = self._continued(tried) - points[:, open_]
            better = left.norm(dim=0) < error[:, open_].norm(dim=0)
            gained = open_[better]
            found[:, gained], error[:, gained] = tried[:, better], left[:, better]
            step[open_] = torch.where(better, (1.5 * step[open_]).clamp(max=1), 0.5 * step[open_])
        return found

    def _continued(self, points: Tensor) -> Tensor:
        voxels = apply(self.field.to_voxels, points)
        sizes = torch.tensor(self.field.grid.shape, dtype=torch.float64)[:, None]
        within = apply(self.field.grid.affine, voxels.clamp(min=-0.5).minimum(sizes - 0.5))
        return within + self.field.at(voxels) + torch.as_tensor(self.nearest[:3, :3]) @ (points - within)

    def inverse(self) -> Field:
        """The field itself."""
        return self.field


class Chain(Transform):
    """Transforms one after the other: a point goes through the first, then the second, and so on."""

    def __init__(self, parts: Sequence[Transform]) -> None:
        self.parts: list[Transform] = [
            part for each in parts for part in (each.parts if isinstance(each, Chain) else [each])
        ]

    def __call__(self, points: Tensor) -> Tensor:
        for part in self.parts:
            points = part(points)
        return points

    def inverse(self) -> Chain:
        """The inverses in the opposite order."""
        return Chain([part.inverse() for part in reversed(self.parts)])


def simplified(transform: Transform) -> Transform:
    """The same map: affine maps that follow one another as one, a chain of one part as that part."""
    parts: list[Transform] = []
    for part in transform.parts if isinstance(transform, Chain) else [transform]:
        if parts and isinstance(part, Affine) and isinstance(parts[-1], Affine):
            parts[-1] = Affine(part.matrix @ parts[-1].matrix)
        else:
            parts.append(part)
    return parts[0] if len(parts) == 1 else Chain(parts)


def inside(voxels: Tensor, shape: Sequence[int]) -> Tensor:
    """Which of the voxel coordinates ``(3, n)`` lie within a volume, which reaches half a voxel beyond its centres."""
    sizes = torch.tensor(tuple(shape), dtype=voxels.dtype)[:, None]
    return ((voxels >= -0.5) & (voxels < sizes - 0.5)).all(0)


def slabs(grid: Grid) -> Iterator[tuple[slice, Tensor]]:
    """The voxels of a grid in pieces along its first axis, with their places ``(3, n)`` in RAS mm."""
    rows = max(1, CHUNK // max(1, grid.shape[1] * grid.shape[2]))
    for start in range(0, grid.shape[0], rows):
        part = slice(start, min(start + rows, grid.shape[0]))
        points = grid_points((part.stop - start, *grid.shape[1:])).flatten(1)
        points[0] += start
        yield part, apply(grid.affine, points)


def same_grid(one: Grid, other: Grid) -> bool:
    """Whether two grids have the same voxels at the same place."""
    return one.shape == other.shape and np.allclose(one.affine, other.affine, rtol=0, atol=1e-9)


def displacement_on(transform: Transform, grid: Grid) -> Field:
    """A transform as one displacement field on a grid, exact at its voxels. A field on its own grid stays as it is."""
    if isinstance(transform, Field) and same_grid(transform.grid, grid):
        return transform
    vectors = torch.empty((3, *grid.shape))
    for part, points in slabs(grid):
        vectors[:, part] = (transform(points) - points).float().unflatten(1, (-1, *grid.shape[1:]))
    return Field(vectors, grid.affine)


def _nearest_affine(field: Field) -> np.ndarray:
    """The affine map, 4 x 4, that is nearest to ``x + u(x)`` in the least squares over the grid; without a likely one,
    the identity.
    """
    step = max(1, round((np.prod(field.grid.shape) / FIT_POINTS) ** (1 / 3)))
    some = [torch.arange(0, size, step) for size in field.grid.shape]
    voxels = torch.stack(torch.meshgrid(*some, indexing="ij")).flatten(1).double()
    places = apply(field.grid.affine, voxels)
    centre = places.mean(1, keepdim=True)
    known = torch.cat([places - centre, torch.ones_like(places[:1])])
    landed = places + field.at(voxels)
    matrix = np.eye(4)
    found = torch.linalg.lstsq(known.T, landed.T, driver="gelsd").solution.T.numpy()
    if min(field.grid.shape) > 1 and np.linalg.det(found[:, :3]) > 1e-3:
        matrix[:3, :3], matrix[:3, 3] = found[:, :3], found[:, 3] - found[:, :3] @ centre[:, 0].numpy()
    else:
        matrix[:3, 3] = (landed - places).mean(1).numpy()
    return matrix
