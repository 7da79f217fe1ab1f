"""``jacobian`` in plain torch: the specification of the operators, and what serves where no fast path can.

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

from medloss.ops.differences.reference import Stencil, interior_weight
from medloss.ops.jacobian.arguments import DeterminantArguments, PenaltyArguments
from medloss.ops.masking import accumulation_dtype, added, blank, constants


def _unit(axis: int, rank: int, step: int = 1) -> tuple[int, ...]:
    return tuple(step if other == axis else 0 for other in range(rank))


def simplices(stencil: str, rank: int) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
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


def determinant(rows: Sequence[Sequence[Any]]) -> Any:
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
        yield determinant([_edge(_unit(axis, rank), step) for axis, step in enumerate(steps)]), 1.0
        return
    tiling = list(simplices(u.name, rank))
    edges = [[tuple(e - s for e, s in zip(end, start)) for end in ends] for start, ends in tiling]
    sizes = [determinant(each) for each in edges]
    whole = sum(abs(size) for size in sizes)
    for (start, ends), rest, size in zip(tiling, edges, sizes):
        origin = u.at(dict(enumerate(start, start=2)))
        moved = [_edge(edge, u.at(dict(enumerate(end, start=2))) - origin) for edge, end in zip(rest, ends)]
        yield determinant(moved) / size, abs(size) / whole


def _edge(edge: tuple[int, ...], change: Tensor) -> list[Tensor]:
    """An edge after the deformation, component by component."""
    return [at + component for at, component in zip(edge, change.unbind(1))]


def _prepared(args: DeterminantArguments | PenaltyArguments) -> tuple[Stencil, Tensor | None]:
    field, stencil, border = args.field, args.stencil, args.border
    weight = None if args.mask is None else args.mask.to(accumulation_dtype(field))
    # in voxels: the determinant is the same in every unit, component and axis being scaled alike
    u = blank(field.to(accumulation_dtype(field)), weight)
    u = u * constants(args.axis_scale, u).view(1, -1, *[1] * (u.ndim - 2))
    if weight is not None:
        weight = interior_weight(weight.amin(1, keepdim=True), stencil, border)[:, 0]
    return Stencil(u, stencil, args.axis_scale, border), weight


def determinants(args: DeterminantArguments) -> Tensor:
    """See :func:`medloss.ops.jacobian.jacobian_determinant`."""
    u, weight = _prepared(args)
    maps = torch.stack([growth for growth, _ in _volumes(u)], 1)
    return maps if weight is None else torch.where(weight.unsqueeze(1) > 0, maps, torch.ones_like(maps))


def penalties(args: PenaltyArguments) -> Tensor:
    """See :func:`medloss.ops.jacobian.jacobian_penalty`."""
    penalty, floor = args.penalty, args.floor
    u, weight = _prepared(args)
    if penalty == "sdlog":
        return _spread([(_logarithm(growth, floor), share) for growth, share in _volumes(u)], weight)
    total = added(share * _penalised(growth, penalty, floor) for growth, share in _volumes(u))
    total = total if weight is None else total * weight
    return total.flatten(1).sum(1) if args.reduce else total


def _penalised(growth: Tensor, penalty: str, floor: float) -> Tensor:
    if penalty == "folding":
        return torch.relu(-growth)
    if penalty == "hinge":
        return torch.relu(floor - growth) ** 2
    return (growth - 1).abs() if penalty == "volume" else _logarithm(growth, floor) ** 2


def _logarithm(growth: Tensor, floor: float) -> Tensor:
    """The logarithm, and below the floor its tangent there: a fold costs more the worse it is, and has a gradient."""
    start = growth.new_full((), floor)
    return torch.where(growth >= floor, growth.clamp_min(floor).log(), start.log() + (growth - floor) / floor)


def _spread(maps: list[tuple[Tensor, float]], weight: Tensor | None) -> Tensor:
    """The standard deviation of each sample over all maps."""
    weight = torch.ones_like(maps[0][0]) if weight is None else weight
    axes = tuple(range(1, weight.ndim))
    mass = weight.sum(axes, keepdim=True)
    weight = weight / torch.where(mass > 0, mass, torch.ones_like(mass))
    mean = added(share * (weight * map).sum(axes, keepdim=True) for map, share in maps)
    variance = added(share * (weight * (map - mean) ** 2).sum(axes) for map, share in maps)
    none = variance <= 0  # the root has no gradient at 0; NaN stays
    return torch.where(none, torch.zeros_like(variance), torch.where(none, torch.ones_like(variance), variance).sqrt())
