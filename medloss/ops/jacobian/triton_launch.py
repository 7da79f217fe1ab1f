"""The GPU paths of the Jacobian's operators and ``hyperelastic``: simplices as tables for ``triton_kernels.py``."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.axes import rows_last
from medloss.ops.differences.reference import extended, interior_weight, reach_of
from medloss.ops.differences.triton_launch import folded
from medloss.ops.dispatch import KeepingPath
from medloss.ops.jacobian.arguments import Arguments, Call
from medloss.ops.jacobian.reference import determinant, simplices
from medloss.ops.masking import accumulation_dtype
from medloss.ops.triton_numbers import table
from medloss.ops.triton_tiles import Tiles, tiles

AXES = 3
MODES = {"determinant": 0, "folding": 1, "log": 2, "volume": 3, "hyperelastic": 4, "mean": 5, "sdlog": 6, "hinge": 7}
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


class TritonJacobian(KeepingPath[Arguments], triton_path.TritonPath[Arguments]):
    """All of their schemes, borders and masks, without a map of any derivative."""

    differentiable = ("field",)

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        call = args.call()
        found = call.misfits()
        if call.field[:1].numel() > MOST_ENTRIES:
            found.append(f"a sample has more than {MOST_ENTRIES} entries")
        return found

    def forward_keeping(self, args: Arguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The result, and of a spread the three numbers of each sample that the gradient starts from."""
        call = args.call()
        if call.mode != "sdlog":
            work = _Work(call)
            found = work.prices(call.mode)
            return (found.to(work.dtype) if work.reduce else found), ()
        found = _spread(_Work(call))
        return found[:, 2].clamp_min(0).sqrt().to(accumulation_dtype(call.field)), (found,)

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the field, in its dtype."""
        call = args.call()
        return self.backward_from((_spread(_Work(call)),) if call.mode == "sdlog" else (), grad, args)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the field, in its dtype."""
        call = args.call()
        work, centre = _Work(call), None
        if kept:
            mass, centre, variance = kept[0].unbind(1)
            flat = variance <= 0  # the root has no gradient at 0
            scale = 2 * mass * torch.where(flat, torch.ones_like(variance), variance).sqrt()
            grad = torch.where(flat, torch.zeros_like(scale), grad / scale)
        return work.gradient(call.mode, grad, centre).to(args.field.dtype)


def _spread(work: _Work) -> Tensor:
    """Of each sample the mass, and the mean and the variance of the logarithms, B 3 in double."""
    if work.options["MASKED"]:
        mass = work.weight.flatten(1).sum(1, dtype=torch.float64)
    else:
        mass = torch.full((work.batch,), float(math.prod(work.inner)), dtype=torch.float64, device=work.field.device)
    some = torch.where(mass > 0, mass, torch.ones_like(mass))
    mean = work.prices("mean") / some
    return torch.stack([some, mean, work.prices("sdlog", mean) / some], 1)


class _Work:
    """What the kernels are given: volumes, tables and sizes."""

    def __init__(self, call: Call) -> None:
        field, self.scheme = call.field, _scheme(call.mode, call.stencil, tuple(call.axis_scale))
        self.dtype, self.rank, self.batch = accumulation_dtype(field), field.ndim - 2, field.shape[0]
        self.reach, self.extended = reach_of(call.stencil, call.axis_scale), call.border == "replicate"
        self.field = (extended(field.detach(), self.reach) if self.extended else field.detach()).contiguous()
        self.weight, self.reduce = self.field, call.reduce or call.mode == "sdlog"
        if call.mask is not None:
            weight = interior_weight(call.mask.to(self.dtype).amin(1, keepdim=True), call.stencil, call.border)
            self.weight = weight.expand(self.batch, *weight.shape[1:]).contiguous()
        self.sizes = rows_last(self.field.shape[2:], 1)
        self.inner = rows_last(call.inner(), 1)
        self.before = rows_last([reach[0] for reach in self.reach.values()], 0)
        self.maps = (len(self.scheme),) if call.mode == "determinant" else ()
        self.numbers = table((call.floor, *call.prices), self.dtype, field.device)
        self.options = {
            "MASKED": call.mask is not None, "REDUCED": self.reduce, "SIMPLICES": len(self.scheme), "RANK": self.rank,
        }  # fmt: skip

    def prices(self, mode: str, centre: Tensor | None = None) -> Tensor:
        """The map, or the sum of each sample in double. ``centre``: from where logarithms spread."""
        from medloss.ops.jacobian import triton_kernels as kernels

        tile, lines = self.tiles(self.inner, self.batch)
        shape = (self.batch, *self.maps, *self.inner[AXES - self.rank :])
        if self.reduce:
            shape = (self.batch, lines // self.batch * tile.across)
        result = self.field.new_empty(shape, dtype=self.dtype)
        with triton_path.on_device(result):
            kernels.prices[(tile.programs(lines),)](
                *self._images(False, centre), result, lines, *self.sizes, *self.before, *self.inner, MODE=MODES[mode],
                **self.options, **tile.options, num_warps=WARPS,
            )  # fmt: skip
        return result.sum(1, dtype=torch.float64) if self.reduce else result

    def gradient(self, mode: str, grad: Tensor, centre: Tensor | None) -> Tensor:
        """The gradient of the field as it was given, before it was extended."""
        from medloss.ops.jacobian import triton_kernels as kernels

        tile, lines = self.tiles(self.sizes, self.batch)
        result, images = torch.empty_like(self.field, dtype=self.dtype), self._images(True, centre)
        with triton_path.on_device(result):
            kernels.gradient[(tile.programs(lines),)](
                *images, grad.to(self.dtype).contiguous(), result, lines, *self.sizes, *self.before, *self.inner,
                MODE=MODES[mode], **self.options, ENDS=len(images[3]) // REALS, **tile.options, num_warps=WARPS,
            )  # fmt: skip
        return folded(result, self.reach) if self.extended else result

    def _images(self, ends: bool, centre: Tensor | None) -> tuple[Tensor, ...]:
        numbers = self.numbers if centre is None else centre.to(self.dtype).contiguous()
        return (self.field, self.weight, *self.entries(ends), self.numbers, numbers)

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
    wholes, reals, rank = [*rows_last(own, 0), number], [], len(simplex.edges)
    for axis in ((first + turn) % AXES for turn in range(AXES)):
        if axis < rank:
            edge = simplex.edges[axis]
            nothing = [0] * (AXES - rank)
            wholes += [*rows_last(edge.start, 0), *rows_last(edge.end, 0), *edge.rest, *nothing, 1]
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
