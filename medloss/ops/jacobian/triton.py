"""The GPU paths of the Jacobian's operators and of ``hyperelastic``: simplices, given to ``kernel.py`` as tables."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.differences.reference import extended, interior_sizes, interior_weight, reach_of
from medloss.ops.differences.triton import folded
from medloss.ops.jacobian.native import Call, determinant_call, hyperelastic_call, misfits, penalty_call
from medloss.ops.jacobian.reference import determinant, simplices
from medloss.ops.triton_tiles import Tiles, table, tiles
from medloss.ops.voxels import accumulation_dtype

AXES = 3
MODES = {"determinant": 0, "folding": 1, "log": 2, "volume": 3, "hyperelastic": 4}
MOST_ENTRIES = 2**31 - 1
WARPS = 8

Offset = tuple[int, ...]


class Edge(NamedTuple):
    """Where an edge begins and ends, what it was before the deformation, and the factor of each component."""

    start: Offset
    end: Offset
    rest: Offset
    scale: tuple[float, ...]


class Simplex(NamedTuple):
    """Its edges, its volume with its sign, and the share of the whole that it stands for."""

    edges: list[Edge]
    size: int
    share: float


class TritonJacobian:
    """All of their schemes, borders and masks, without a map of any derivative.

    Args:
        call: names the call in an operator's arguments.
    """

    name = "triton"

    def __init__(self, call: Callable[[tuple[Any, ...]], Call]) -> None:
        self.call = call

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        call = self.call(args)
        found = triton_path.reasons(call.field) + misfits(call, needs)
        if call.mode not in MODES:
            found.append(f"{call.mode} has no triton kernel")
        if call.field[:1].numel() > MOST_ENTRIES:
            found.append(f"a sample has more than {MOST_ENTRIES} entries")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map, or one number for each sample."""
        from medloss.ops.jacobian import kernel

        work = _Work(self.call(args))
        tile, lines = work.tiles(work.inner, work.batch)
        shape = (work.batch, *work.maps, *work.inner[AXES - work.rank :])
        if work.reduce:
            shape = (work.batch, lines // work.batch * tile.across)
        result = work.field.new_empty(shape, dtype=work.dtype)
        wholes, reals = work.entries(False)
        with triton_path.on_device(result):
            kernel.prices[(tile.programs(lines),)](
                work.field, work.weight, wholes, reals, work.numbers, result, lines, *work.sizes, *work.before,
                *work.inner, **work.options, **tile.options, num_warps=WARPS,
            )  # fmt: skip
        return result.sum(1, dtype=torch.float64).to(work.dtype) if work.reduce else result

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the field, in its dtype."""
        from medloss.ops.jacobian import kernel

        work = _Work(self.call(args))
        tile, lines = work.tiles(work.sizes, work.batch)
        result = torch.empty_like(work.field, dtype=work.dtype)
        wholes, reals = work.entries(True)
        with triton_path.on_device(result):
            kernel.gradient[(tile.programs(lines),)](
                work.field, work.weight, wholes, reals, work.numbers, grad.to(work.dtype).contiguous(), result, lines,
                *work.sizes, *work.before, *work.inner, **work.options, ENDS=len(reals) // REALS, **tile.options,
                num_warps=WARPS,
            )  # fmt: skip
        return (folded(result, work.reach) if work.extended else result).to(args[0].dtype)


class _Work:
    """What the kernels are given: volumes, tables and sizes."""

    def __init__(self, call: Call) -> None:
        field, self.scheme = call.field, _scheme(call.mode, call.stencil, tuple(call.axis_scale))
        self.dtype, self.rank, self.batch = accumulation_dtype(field), field.ndim - 2, field.shape[0]
        self.reach, self.extended = reach_of(call.stencil, call.axis_scale), call.border == "replicate"
        self.field = (extended(field.detach(), self.reach) if self.extended else field.detach()).contiguous()
        self.weight, self.reduce = self.field, call.reduce
        if call.mask is not None:
            weight = interior_weight(call.mask.to(self.dtype).amin(1, keepdim=True), call.stencil, call.border)
            self.weight = weight.expand(self.batch, *weight.shape[1:]).contiguous()
        self.sizes = _placed(self.field.shape[2:], 1)
        self.inner = _placed(interior_sizes(field, call.stencil, call.axis_scale, call.border), 1)
        self.before = _placed([reach[0] for reach in self.reach.values()], 0)
        self.maps = (len(self.scheme),) if call.mode == "determinant" else ()
        self.numbers = table((call.floor, *call.prices), self.dtype, field.device)
        self.options = {
            "MODE": MODES[call.mode], "MASKED": call.mask is not None, "REDUCED": call.reduce,
            "SIMPLICES": len(self.scheme), "RANK": self.rank,
        }  # fmt: skip

    def tiles(self, sizes: Sequence[int], volumes: int) -> tuple[Tiles, int]:
        """Tiles of the volumes of these sizes, and the number of their rows."""
        lines = volumes * sizes[0] * sizes[1]
        return tiles(lines, sizes[2], self.dtype), lines

    def entries(self, ends: bool) -> tuple[Tensor, Tensor]:
        """The tables of simplices, or of the ends of their edges: whole numbers and others."""
        rows = [row for number, each in enumerate(self.scheme) for row in _entries(number, each, self.rank, ends)]
        wholes, reals = (tuple(itertools.chain(*part)) for part in zip(*rows))
        device = self.field.device
        return table(wholes, torch.int32, device), table(reals, self.dtype, device)


REALS = 12
"""Numbers of an entry that are not whole."""


def _entries(number: int, simplex: Simplex, rank: int, ends: bool) -> list[tuple[list[int], list[float]]]:
    """A simplex, or of each end of its edges the simplex with that edge first: three turned round keep their sign."""
    if not ends:
        return [_entry(number, simplex, 0, (0,) * rank, 1.0)]
    return [
        _entry(number, simplex, first, own, sign)
        for first in range(rank)
        for own, sign in ((simplex.edges[first].end, 1.0), (simplex.edges[first].start, -1.0))
    ]


def _entry(number: int, simplex: Simplex, first: int, own: Offset, sign: float) -> tuple[list[int], list[float]]:
    wholes, reals, rank = [*_placed(own, 0), number], [], len(simplex.edges)
    for axis in ((first + turn) % AXES for turn in range(AXES)):
        if axis < rank:
            edge = simplex.edges[axis]
            nothing = [0] * (AXES - rank)
            wholes += [*_placed(edge.start, 0), *_placed(edge.end, 0), *edge.rest, *nothing, 1]
            reals += [*edge.scale, *nothing]
        else:
            wholes += [0] * 6 + [int(axis == other) for other in range(AXES)] + [0]
            reals += [0.0] * AXES
    return wholes, [*reals, 1 / simplex.size, simplex.share, sign]


@functools.lru_cache(64)
def _scheme(mode: str, stencil: str, axis_scale: tuple[float, ...]) -> list[Simplex]:
    """The simplices of a scheme; the Jacobian is in voxels, with each component by its voxel's size."""
    rank, found = len(axis_scale), []
    units = [tuple(int(axis == other) for other in range(rank)) for axis in range(rank)]
    if stencil == "central" or mode == "hyperelastic":
        low, high = (-1, 1) if stencil == "central" else (0, 1)
        edges = []
        for axis, unit in enumerate(units):
            scales = [axis_scale[axis]] * rank if mode == "hyperelastic" else axis_scale
            start, end = (tuple(by * at for at in unit) for by in (low, high))
            edges.append(Edge(start, end, unit, tuple(scale / (high - low) for scale in scales)))
        return [Simplex(edges, 1, 1.0)]
    for start, tips in simplices(stencil, rank):
        rests = [tuple(b - a for a, b in zip(start, tip)) for tip in tips]
        edges = [Edge(start, tip, rest, axis_scale) for tip, rest in zip(tips, rests)]
        found.append(Simplex(edges, determinant(rests), 0.0))
    whole = sum(abs(each.size) for each in found)
    return [each._replace(share=abs(each.size) / whole) for each in found]


def _placed(values: Sequence[int], missing: int) -> tuple[int, ...]:
    """One number for depth, height and width, from one for each axis that the field has."""
    return (missing,) * (AXES - len(values)) + tuple(values)


DETERMINANT, PENALTY, HYPERELASTIC = map(TritonJacobian, (determinant_call, penalty_call, hyperelastic_call))
