"""The GPU path of ``differences``: an energy as weighted differences, given to ``triton_kernels.py`` as tables."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.axes import rows_last
from medloss.ops.differences.reference import JOINT, Arguments, extended, interior_weight, reach_of
from medloss.ops.differences.stencils import composed, taps_of, terms_of, voxels_of
from medloss.ops.masking import accumulation_dtype
from medloss.ops.triton_numbers import packed, tables
from medloss.ops.triton_tiles import Tiles, tiles

RANKS = 3
SQUARE, SIZE = range(2)
WARPS = 8
"""Of a program; with half of them, the addresses of a thread's voxels are more than its registers hold."""
LEAST_INTERIOR = 2**15
"""Voxels of a volume whose inside is worth a launch of its own, beside those of its border."""


class Box(NamedTuple):
    """Voxels of a volume along its axes: from ``start`` on, and behind ``cut`` of them those ``jump`` further."""

    start: tuple[int, ...]
    cut: tuple[int, ...]
    jump: tuple[int, ...]
    sizes: tuple[int, ...]


class TritonDifferences(triton_path.TritonPath[Arguments]):
    """All energies, masks and borders, without a map of any derivative."""

    differentiable = ("field",)

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        return args.misfits()

    def forward(self, args: Arguments) -> Tensor:
        """The map, or B d with ``reduce``."""
        from medloss.ops.differences import triton_kernels as kernels

        call = _Call(args)
        tile, lines = call.tiles(call.maps, call.inner)
        shape = (call.batch, call.maps, *call.inner[RANKS - call.rank :])
        if call.reduce:
            shape = (call.batch, call.maps, lines // (call.batch * call.maps) * tile.across)
        result = call.field.new_empty(shape, dtype=call.dtype)
        with triton_path.on_device(result):
            kernels.energies[(tile.programs(lines),)](
                *call.images, *call.stencil, call.scales, result, lines, *call.numbers,
                VOXELS=call.voxels, COUNTS=call.counts, ENDS=call.ends, PAIRS=call.most_pairs, **call.options,
                **tile.options, num_warps=WARPS,
            )  # fmt: skip
        return result.sum(2, dtype=torch.float64).to(call.dtype) if call.reduce else result

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the field, in its dtype."""
        field, call = args.field, _Call(args)
        result = torch.empty_like(call.field, dtype=call.dtype if call.extended else field.dtype)
        grad = grad.to(call.dtype).contiguous()
        with triton_path.on_device(result):
            inside = call.inside()
            if inside is not None:
                call.inner_gradient(inside, grad, result)
            for box in call.boxes(inside):
                call.gradient(box, grad, result)
        return folded(result, call.reach).to(field.dtype) if call.extended else result


class _Call:
    """What the kernels are given: volumes, tables and sizes."""

    def __init__(self, args: Arguments) -> None:
        field, mask, energy, stencil, axis_scale = args.field, args.mask, args.energy, args.stencil, args.axis_scale
        self.reduce, self.dtype, self.rank = args.reduce, accumulation_dtype(field), field.ndim - 2
        self.reach, self.extended = reach_of(stencil, axis_scale), args.border == "replicate"
        self.field = (extended(field.detach(), self.reach) if self.extended else field.detach()).contiguous()
        self.batch, components = field.shape[:2]
        joint = energy in JOINT
        self.maps = 1 if joint else components
        weight, shared = self.field, 1
        if mask is not None:
            weight = mask.to(self.dtype).amin(1, keepdim=True) if joint else mask.to(self.dtype)
            weight = interior_weight(weight, stencil, args.border, axis_scale)
            weight = weight.expand(self.batch, *weight.shape[1:]).contiguous()
            shared = self.maps if weight.shape[1] == 1 else 1
        self.images = (self.field, weight)
        scales = list(args.component_scale) * (components if len(args.component_scale) == 1 else 1)
        self.terms = terms_of(energy, stencil, axis_scale, scales, args.lame or [1.0, 1.0])
        each = _scales(energy, scales)
        self.scales = packed(tuple(each[:1] if len(set(each)) == 1 else each), self.dtype)
        self.sizes = rows_last(self.field.shape[2:], 1)
        self.inner = rows_last(args.inner(), 1)
        self.before = rows_last([reach[0] for reach in self.reach.values()], 0)
        self.numbers = (components, self.maps, shared, *self.sizes, *self.before, *self.inner)
        self.simple = self.reduce and mask is None and not joint and energy != "variation"
        self.options = {
            "POWER": SIZE if energy == "variation" else SQUARE, "JOINT": joint, "MASKED": mask is not None,
            "REDUCED": self.reduce, "SCALES": 1 if len(set(each)) == 1 else len(each),
        }  # fmt: skip
        self._tell_stencil()

    def _tell_stencil(self) -> None:
        """The voxels that it touches, the pairs of these, and the factors and weights."""
        voxels = voxels_of(self.terms)
        self.voxels = tuple((*rows_last(at, 0), component) for at, component in voxels)
        self.most_pairs = max(len(term.pairs) for term in self.terms)
        numbers = [term.factor for term in self.terms]
        for term in self.terms:
            numbers += [pair.weight for pair in term.pairs] + [0.0] * (self.most_pairs - len(term.pairs))
        self.counts = tuple(len(term.pairs) for term in self.terms)
        ends = [[voxels.index((at, p.component)) for p in t.pairs for at in (p.ahead, p.behind)] for t in self.terms]
        self.ends = tuple(itertools.chain(*(_filled(each, 2 * self.most_pairs, 0) for each in ends)))
        self.stencil = (packed(tuple(numbers), self.dtype),)

    def tiles(self, volumes: int, sizes: Sequence[int]) -> tuple[Tiles, int]:
        """Tiles of the volumes of these sizes, and the number of their rows."""
        lines = self.batch * volumes * sizes[0] * sizes[1]
        return tiles(lines, sizes[2], self.dtype), lines

    def inside(self) -> Box | None:
        """The voxels that are touched by stencils on all sides, where a gradient is one stencil and they are many."""
        if not self.simple or self.field[0, 0].numel() < LEAST_INTERIOR:
            return None
        offsets = [rows_last(at, 0) for term in self.terms for at, _ in taps_of(term)]
        low = [start + max(axis) for start, axis in zip(self.before, zip(*offsets))]
        high = [start + size + min(axis) for start, size, axis in zip(self.before, self.inner, zip(*offsets))]
        sizes = tuple(end - start for start, end in zip(low, high))
        return Box(tuple(low), sizes, (0,) * RANKS, sizes) if min(sizes) > 0 else None

    def boxes(self, inside: Box | None) -> Iterator[Box]:
        """The voxels around the inside: along each axis those before and behind it, of all that the axes before left.

        All voxels where there is no inside.
        """
        if inside is None:
            yield Box((0,) * RANKS, self.sizes, (0,) * RANKS, self.sizes)
            return
        for axis, (start, size) in enumerate(zip(inside.start, inside.sizes)):
            if size < self.sizes[axis]:
                starts, jumps = [*inside.start[:axis]] + [0] * (RANKS - axis), [0] * RANKS
                sizes = [*inside.sizes[:axis], self.sizes[axis] - size, *self.sizes[axis + 1 :]]
                cuts, jumps[axis] = list(sizes), size
                cuts[axis] = start
                yield Box(tuple(starts), tuple(cuts), tuple(jumps), tuple(sizes))

    def inner_gradient(self, box: Box, grad: Tensor, result: Tensor) -> None:
        """The gradient where it is one stencil."""
        from medloss.ops.differences import triton_kernels as kernels

        stencil, (tile, lines) = composed(self.terms), self.tiles(self.field.shape[1], box.sizes)
        others = {at: weight for at, weight in stencil.items() if any(at)}
        kernels.inner_gradient[(tile.programs(lines),)](
            self.field, packed(tuple(others.values()), self.dtype), self.scales, grad, result, lines, self.maps,
            *self.sizes, *box.start, *box.sizes, SCALES=self.options["SCALES"],
            VOXELS=tuple(rows_last(at, 0) for at in others), **tile.options, num_warps=WARPS,
        )  # fmt: skip

    def gradient(self, box: Box, grad: Tensor, result: Tensor) -> None:
        """The gradient at any voxel."""
        from medloss.ops.differences import triton_kernels as kernels

        tile, lines = self.tiles(self.field.shape[1], box.sizes)
        options = {**self.options, "TERMS": len(self.terms), "PAIRS": self.most_pairs}
        pairs, taps, weights, tap_weights, factors, options["TAPS"] = self._gradient_tables
        kernels.gradient[(tile.programs(lines),)](
            *self.images, pairs, taps, weights, tap_weights, factors, self.scales, grad, result, lines, *self.numbers,
            *box.start, *box.cut, *box.jump, *box.sizes, **options, **tile.options, num_warps=WARPS,
        )  # fmt: skip

    @functools.cached_property
    def _gradient_tables(self) -> tuple[Any, ...]:
        """Pairs, taps, their weights, the factors, and how many taps a term has."""
        # what fills a row up weighs nothing, and touches what its term touches, so that it finds no other NaN
        pairs = [p for t in self.terms for p in _filled(t.pairs, self.most_pairs, t.pairs[0]._replace(weight=0.0))]
        each = [[(*voxel, weight) for voxel, weight in taps_of(term).items()] for term in self.terms]
        most = max(map(len, each))
        taps = [tap for term in each for tap in _filled(term, most, (*term[0][:2], 0.0))]
        wholes = (
            [i for p in pairs for i in (*rows_last(p.ahead, 0), *rows_last(p.behind, 0), p.component)],
            [i for offset, component, _ in taps for i in (*rows_last(offset, 0), component)],
        )
        reals = [p.weight for p in pairs], [weight for *_, weight in taps], [term.factor for term in self.terms]
        device = self.field.device
        return *tables(wholes, torch.int32, device), *tables(reals, self.dtype, device), most


def _filled(entries: list[Any], count: int, nothing: Any) -> list[Any]:
    return entries + [nothing] * (count - len(entries))


def folded(grad: Tensor, reach: dict[int, tuple[int, int]]) -> Tensor:
    """The gradient of a field from that of the field continued beyond its border."""
    for axis, (before, behind) in reach.items():
        size = grad.shape[axis] - before - behind
        inner = grad.narrow(axis, before, size).clone()
        inner.narrow(axis, 0, 1).add_(grad.narrow(axis, 0, before).sum(axis, keepdim=True))
        inner.narrow(axis, size - 1, 1).add_(grad.narrow(axis, before + size, behind).sum(axis, keepdim=True))
        grad = inner
    return grad


def _scales(energy: str, component_scale: list[float]) -> list[float]:
    """The factor of each map; a joint energy has those of the components in its pairs."""
    if energy in JOINT:
        return [1.0]
    return [abs(scale) if energy == "variation" else scale * scale for scale in component_scale]
