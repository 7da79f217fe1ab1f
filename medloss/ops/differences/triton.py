"""The GPU path of ``differences``: an energy as terms of weighted differences, given to ``kernel.py`` as tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.differences.reference import JOINT, extended, interior_weight, reach_of
from medloss.ops.triton_tiles import Tiles, table, tiles
from medloss.ops.voxels import accumulation_dtype

Offset = tuple[int, ...]
RANKS = 3
SQUARE, SIZE = range(2)
WARPS = 8
"""Of a program; with half of them, the addresses of a thread's voxels are more than its registers hold."""


class Pair(NamedTuple):
    """A weighted difference of two voxels of a component."""

    ahead: Offset
    behind: Offset
    weight: float = 1.0
    component: int = 0


class Term(NamedTuple):
    """A factor, and the pairs whose sum is squared."""

    factor: float
    pairs: list[Pair]


class TritonDifferences:
    """All energies, masks and borders, without a map of any derivative."""

    name = "triton"

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        field, _, energy, stencil, axis_scale, _, _, border, _ = args
        found = triton_path.reasons(field)
        if not 3 <= field.ndim <= 5:
            found.append(f"field has {field.ndim - 2} spatial axes, the kernel takes 1 to {RANKS}")
        elif field.numel() == 0 or min(_inner(field, stencil, axis_scale, border)) < 1:
            found.append("no stencil lies inside")
        if not any(axis_scale):
            found.append("there is no axis to differentiate along")
        if energy in JOINT and not all(axis_scale):
            found.append(f"{energy} needs derivatives along all axes")
        if needs is not None and any(needs[1:]):
            found.append("a gradient of the mask is asked for")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map, or B d with ``reduce``."""
        from medloss.ops.differences import kernel

        call = _Call(args)
        tile, lines = call.tiles(call.inner)
        shape = (call.batch, call.maps, *call.inner[RANKS - call.rank :])
        if call.reduce:
            shape = (call.batch, call.maps, lines // (call.batch * call.maps) * tile.across)
        result = call.field.new_empty(shape, dtype=call.dtype)
        with triton_path.on_device(result):
            kernel.energies[(tile.programs(lines),)](
                *call.images,
                *call.tables,
                result,
                lines,
                *call.numbers,
                **call.options,
                **tile.options,
                num_warps=WARPS,
            )
        return result.sum(2, dtype=torch.float64).to(call.dtype) if call.reduce else result

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the field, in its dtype."""
        from medloss.ops.differences import kernel

        field, call = args[0], _Call(args)
        tile, lines = call.tiles(call.sizes)
        result = torch.empty_like(call.field, dtype=call.dtype if call.extended else field.dtype)
        pairs, weights, *others = call.tables
        grad = grad.to(call.dtype).contiguous()
        with triton_path.on_device(result):
            kernel.gradient[(tile.programs(lines),)](
                *call.images, pairs, call.taps, weights, call.tap_weights, *others, grad, result, lines, *call.numbers,
                **call.options, TAPS=call.most_taps, **tile.options, num_warps=WARPS,
            )  # fmt: skip
        return folded(result, call.reach).to(field.dtype) if call.extended else result


class _Call:
    """What the kernels are given: volumes, tables and sizes."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        field, mask, energy, stencil, axis_scale, component_scale, self.reduce, border, lame = args
        self.dtype, self.rank = accumulation_dtype(field), field.ndim - 2
        self.reach, self.extended = reach_of(stencil, axis_scale), border == "replicate"
        self.field = (extended(field.detach(), self.reach) if self.extended else field.detach()).contiguous()
        self.batch, components = field.shape[:2]
        joint = energy in JOINT
        self.maps = 1 if joint else components
        weight, shared = self.field, 1
        if mask is not None:
            weight = mask.to(self.dtype).amin(1, keepdim=True) if joint else mask.to(self.dtype)
            weight = interior_weight(weight, stencil, border, axis_scale)
            weight = weight.expand(self.batch, *weight.shape[1:]).contiguous()
            shared = self.maps if weight.shape[1] == 1 else 1
        self.images = (self.field, weight)
        scales = list(component_scale) * (components if len(component_scale) == 1 else 1)
        terms = terms_of(energy, stencil, axis_scale, scales, lame or [1.0, 1.0])
        self._make_tables(terms, _scales(energy, scales))
        self.sizes = _placed(self.field.shape[2:], 1)
        self.inner = _placed(_inner(field, stencil, axis_scale, border), 1)
        before = _placed([reach[0] for reach in self.reach.values()], 0)
        self.numbers = (components, self.maps, shared, *self.sizes, *before, *self.inner)
        self.options = {
            "POWER": SIZE if energy == "variation" else SQUARE, "JOINT": joint, "MASKED": mask is not None,
            "REDUCED": self.reduce, "TERMS": len(terms), "PAIRS": max(len(term.pairs) for term in terms),
        }  # fmt: skip

    def tiles(self, sizes: tuple[int, ...]) -> tuple[Tiles, int]:
        """Tiles of the volumes of these sizes, and the number of their rows."""
        volumes = self.maps if sizes is self.inner else self.field.shape[1]
        lines = self.batch * volumes * sizes[0] * sizes[1]
        return tiles(lines, sizes[2], self.dtype), lines

    def _make_tables(self, terms: list[Term], scales: list[float]) -> None:
        most = max(len(term.pairs) for term in terms)
        # what fills a row up weighs nothing, and touches what its term touches, so that it finds no other NaN
        pairs = [pair for term in terms for pair in _filled(term.pairs, most, term.pairs[0]._replace(weight=0.0))]
        each = [_taps(term) for term in terms]
        self.most_taps = max(map(len, each))
        taps = [tap for term in each for tap in _filled(term, self.most_taps, (*term[0][:2], 0.0))]
        self.tables = (
            self._table([i for p in pairs for i in (*_placed(p.ahead, 0), *_placed(p.behind, 0), p.component)], True),
            self._table([pair.weight for pair in pairs]),
            self._table([term.factor for term in terms]),
            self._table(scales),
        )
        self.taps = self._table([i for offset, component, _ in taps for i in (*_placed(offset, 0), component)], True)
        self.tap_weights = self._table([weight for *_, weight in taps])

    def _table(self, values: list[float], whole: bool = False) -> Tensor:
        return table(tuple(values), torch.int32 if whole else self.dtype, self.field.device)


def _filled(entries: list[Any], count: int, nothing: Any) -> list[Any]:
    return entries + [nothing] * (count - len(entries))


def _placed(values: Sequence[int], missing: int) -> tuple[int, ...]:
    """One number for depth, height and width, from one for each axis that the field has."""
    return (missing,) * (RANKS - len(values)) + tuple(values)


def _inner(field: Tensor, stencil: str, axis_scale: list[float], border: str) -> list[int]:
    lost = [0 if border == "replicate" else sum(reach) for reach in reach_of(stencil, axis_scale).values()]
    return [size - less for size, less in zip(field.shape[2:], lost)]


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


def _taps(term: Term) -> list[tuple[Offset, int, float]]:
    """Each voxel that a term touches, and its weight."""
    found: dict[tuple[Offset, int], float] = {}
    for pair in term.pairs:
        for offset, weight in ((pair.ahead, pair.weight), (pair.behind, -pair.weight)):
            found[offset, pair.component] = found.get((offset, pair.component), 0.0) + weight
    return [(offset, component, weight) for (offset, component), weight in found.items()]


def terms_of(
    energy: str, stencil: str, axis_scale: Sequence[float], component_scale: Sequence[float], lame: Sequence[float]
) -> list[Term]:
    """The terms of an energy, whose definitions are in :func:`medloss.ops.differences.differences`."""
    rank, axes = len(axis_scale), [axis for axis, scale in enumerate(axis_scale) if scale]
    low, high = (-1, 1) if stencil == "central" else (0, 1)
    step, zero = 2 if stencil == "wide" else 1, (0,) * rank

    def at(moves: dict[int, int]) -> Offset:
        return tuple(moves.get(axis, 0) for axis in range(rank))

    def first(axis: int, weight: float = 1.0, component: int = 0) -> Pair:
        return Pair(at({axis: high}), at({axis: low}), weight, component)

    def second(axis: int, weight: float = 1.0) -> list[Pair]:
        return [Pair(at({axis: move}), zero, weight) for move in (step, -step)]

    rates = [scale / (high - low) for scale in axis_scale]
    bends = [(scale / step) ** 2 for scale in axis_scale]
    if energy in ("diffusion", "variation"):
        return [Term(rates[axis] ** 2 if energy == "diffusion" else abs(rates[axis]), [first(axis)]) for axis in axes]
    if energy == "curvature":
        return [Term(1.0, [pair for axis in axes for pair in second(axis, bends[axis])])]
    if energy == "bending":
        terms = [Term(bends[axis] ** 2, second(axis)) for axis in axes]
        for i, j in itertools.combinations(axes, 2):
            twist = [Pair(at({i: by, j: 1}), at({i: by, j: -1}), by) for by in (1, -1)]
            terms.append(Term(2 * (axis_scale[i] * axis_scale[j] / 4) ** 2, twist))
        return terms
    slopes = [[first(j, rates[j] * component_scale[k], k) for k in range(rank)] for j in range(rank)]
    terms = [Term(lame[0] / 2, [slopes[j][j] for j in range(rank)])]
    terms += [Term(lame[1], [slopes[j][j]]) for j in range(rank)]
    pairs = itertools.combinations(range(rank), 2)
    return terms + [Term(lame[1] / 2, [slopes[j][k], slopes[k][j]]) for j, k in pairs]
