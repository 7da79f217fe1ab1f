"""The determinant of a deformation's Jacobian, by finite differences: what a small volume is multiplied by.

A scheme is a set of simplices. ``"forward"`` takes of each voxel the one that it spans with its next neighbours along
the axes; ``"all"`` those at every corner of each cell of 2 x 2 x 2 voxels, and in 3D the two inside, which the corners
of either kind leave. Together they tile the cell twice, and where none of them is turned over the field, read linearly
in each, folds nowhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from medloss.ops.differences.reference import Stencil, interior_weight, reach_of
from medloss.ops.operator import Operator
from medloss.ops.voxels import accumulation_dtype, blank

PENALTIES = ("folding", "log", "volume", "sdlog")


def _unit(axis: int, rank: int, step: int = 1) -> tuple[int, ...]:
    return tuple(step if other == axis else 0 for other in range(rank))


def _simplices(stencil: str, rank: int) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """An origin and the ends of the edges from there, in voxels."""
    if stencil != "all":
        step = -1 if stencil == "backward" else 1
        yield _unit(0, rank, 0), [_unit(axis, rank, step) for axis in range(rank)]
        return
    for corner in itertools.product((0, 1), repeat=rank):
        flipped = [[1 - at if other == axis else at for other, at in enumerate(corner)] for axis in range(rank)]
        yield corner, [tuple(end) for end in flipped]
    if rank == 3:
        yield (0, 0, 0), [(1, 1, 0), (1, 0, 1), (0, 1, 1)]
        yield (1, 1, 1), [(0, 0, 1), (0, 1, 0), (1, 0, 0)]


def _determinant(rows: Sequence[Sequence[Any]]) -> Any:
    """Of a matrix of numbers or of maps, of up to three rows."""
    if len(rows) == 1:
        return rows[0][0]
    if len(rows) == 2:
        (a, b), (c, d) = rows
        return a * d - b * c
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _volumes(u: Stencil) -> Iterator[tuple[Tensor, float]]:
    """By how much each simplex grows, B [interior], and the share of the volume that it stands for."""
    rank = len(u.reach)
    if u.name == "central":
        steps = [(u.at({axis: 1}) - u.at({axis: -1})) / 2 for axis in u.reach]
        yield _determinant([_edge(_unit(axis, rank), step) for axis, step in enumerate(steps)]), 1.0
        return
    simplices = list(_simplices(u.name, rank))
    edges = [[tuple(e - s for e, s in zip(end, start)) for end in ends] for start, ends in simplices]
    sizes = [_determinant(each) for each in edges]
    whole = sum(abs(size) for size in sizes)
    for (start, ends), rest, size in zip(simplices, edges, sizes):
        origin = u.at(dict(enumerate(start, start=2)))
        moved = [_edge(edge, u.at(dict(enumerate(end, start=2))) - origin) for edge, end in zip(rest, ends)]
        yield _determinant(moved) / size, abs(size) / whole


def _edge(edge: tuple[int, ...], change: Tensor) -> list[Tensor]:
    """An edge after the deformation, component by component."""
    return [at + component for at, component in zip(edge, change.unbind(1))]


def _prepared(
    field: Tensor, mask: Tensor | None, stencil: str, axis_scale: list[float], border: str
) -> tuple[Stencil, Tensor | None]:
    weight = None if mask is None else mask.to(accumulation_dtype(field))
    # in voxels: the determinant is the same in every unit, component and axis being scaled alike
    u = blank(field.to(accumulation_dtype(field)), weight)
    u = u * u.new_tensor(axis_scale).view(1, -1, *[1] * (u.ndim - 2))
    if weight is not None:
        weight = interior_weight(weight.amin(1, keepdim=True), stencil, border)[:, 0]
    return Stencil(u, stencil, axis_scale, border), weight


def _determinants(field: Tensor, mask: Tensor | None, stencil: str, axis_scale: list[float], border: str) -> Tensor:
    u, weight = _prepared(field, mask, stencil, axis_scale, border)
    maps = torch.stack([growth for growth, _ in _volumes(u)], 1)
    return maps if weight is None else torch.where(weight.unsqueeze(1) > 0, maps, torch.ones_like(maps))


def _penalty(
    field: Tensor,
    mask: Tensor | None,
    penalty: str,
    floor: float,
    stencil: str,
    axis_scale: list[float],
    border: str,
    reduce: bool,
) -> Tensor:
    u, weight = _prepared(field, mask, stencil, axis_scale, border)
    if penalty == "sdlog":
        return _spread([(_logarithm(growth, floor), share) for growth, share in _volumes(u)], weight)
    total = sum(share * _penalised(growth, penalty, floor) for growth, share in _volumes(u))
    total = total if weight is None else total * weight
    return total.flatten(1).sum(1) if reduce else total


def _penalised(growth: Tensor, penalty: str, floor: float) -> Tensor:
    if penalty == "folding":
        return torch.relu(-growth)
    return (growth - 1).abs() if penalty == "volume" else _logarithm(growth, floor) ** 2


def _logarithm(growth: Tensor, floor: float) -> Tensor:
    """The logarithm, and below the floor its tangent there: a fold costs more the worse it is, and has a gradient."""
    start = growth.new_tensor(floor)
    return torch.where(growth >= floor, growth.clamp_min(floor).log(), start.log() + (growth - floor) / floor)


def _spread(maps: list[tuple[Tensor, float]], weight: Tensor | None) -> Tensor:
    """The standard deviation of each sample over all maps."""
    weight = torch.ones_like(maps[0][0]) if weight is None else weight
    axes = tuple(range(1, weight.ndim))
    mass = weight.sum(axes, keepdim=True)
    weight = weight / torch.where(mass > 0, mass, torch.ones_like(mass))
    mean = sum(share * (weight * map).sum(axes, keepdim=True) for map, share in maps)
    variance = sum(share * (weight * (map - mean) ** 2).sum(axes) for map, share in maps)
    some = variance > 0  # the root has no gradient at 0
    return torch.where(some, torch.where(some, variance, torch.ones_like(variance)).sqrt(), torch.zeros_like(variance))


def _interior(field: Tensor, stencil: str, axis_scale: list[float], border: str) -> list[int]:
    lost = [0 if border == "replicate" else sum(reach) for reach in reach_of(stencil, axis_scale).values()]
    return [size - less for size, less in zip(field.shape[2:], lost, strict=True)]


def _fake_determinants(
    field: Tensor, mask: Tensor | None, stencil: str, axis_scale: list[float], border: str
) -> Tensor:
    count = 1 if stencil == "central" else len(list(_simplices(stencil, field.ndim - 2)))
    shape = (field.shape[0], count, *_interior(field, stencil, axis_scale, border))
    return field.new_empty(shape, dtype=accumulation_dtype(field))


def _fake_penalty(
    field: Tensor,
    mask: Tensor | None,
    penalty: str,
    floor: float,
    stencil: str,
    axis_scale: list[float],
    border: str,
    reduce: bool,
) -> Tensor:
    spatial = [] if reduce or penalty == "sdlog" else _interior(field, stencil, axis_scale, border)
    return field.new_empty((field.shape[0], *spatial), dtype=accumulation_dtype(field))


DETERMINANT = Operator("jacobian_determinant", _determinants, _fake_determinants)
PENALTY = Operator("jacobian_penalty", _penalty, _fake_penalty)


def jacobian_determinant(
    field: Tensor,
    mask: Tensor | None = None,
    *,
    stencil: str = "central",
    axis_scale: Sequence[float],
    border: str = "interior",
) -> Tensor:
    r"""The determinant of :math:`I + \nabla u`: 1 keeps volume, 0 and less folds.

    Args:
        field: displacement u, B d [spatial] with d up to 3, any floating dtype.
        mask: weight of each voxel, B 1 [spatial]; where a stencil touches a zero the determinant is 1.
        stencil: ``"central"``, ``"forward"`` or ``"backward"`` differences; ``"all"``: of each cell of 2^d voxels the
            2^d combinations of forward and backward differences at its corners, then in 3D its two inner tetrahedra.
        axis_scale: one over the voxel's size along each axis, in the unit of the field.
        border: ``"interior"`` or ``"replicate"``, as in :func:`medloss.ops.differences.differences`.

    Returns:
        B 1 [interior], or B k [interior] for the k simplices of ``"all"`` (2 in 1D, 4 in 2D, 10 in 3D); float64 for
        double input and float32 otherwise.
    """
    return DETERMINANT(field, mask, stencil, [float(scale) for scale in axis_scale], border)


def jacobian_penalty(
    field: Tensor,
    mask: Tensor | None = None,
    *,
    penalty: str,
    floor: float,
    stencil: str,
    axis_scale: Sequence[float],
    border: str = "interior",
    reduce: bool = False,
) -> Tensor:
    r"""What the determinants J of :func:`jacobian_determinant` cost.

    ``"folding"`` is :math:`\max(0, -J)`, ``"log"`` is :math:`(\log J)^2`, ``"volume"`` is :math:`|J - 1|`, and
    ``"sdlog"`` the standard deviation of :math:`\log J` over the voxels of a sample. The simplices of ``"all"`` count
    by their share of the volume.

    Args:
        field, mask, stencil, axis_scale, border: as there; the weights of the mask count.
        penalty: see above.
        floor: below it the logarithm goes on as its tangent.
        reduce: sum over the voxels.

    Returns:
        B [interior], or B with ``reduce`` and for ``"sdlog"``.
    """
    return PENALTY(field, mask, penalty, float(floor), stencil, [float(s) for s in axis_scale], border, reduce)
