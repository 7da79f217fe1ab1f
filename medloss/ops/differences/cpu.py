"""The CPU path of ``differences``: an energy as squares of linear stencils, whose taps ``cpu_kernel.cpp`` takes."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.axes import planes_first
from medloss.ops.differences.reference import JOINT, Arguments, reach_of
from medloss.ops.masking import accumulation_dtype

Taps = dict[tuple[int, ...], float]
"""Component and offset along the axes -> weight."""


class Term(NamedTuple):
    """One stencil, and the factor of its square (or absolute value)."""

    factor: float
    taps: Taps


class NativeDifferences(native.NativePath[Arguments]):
    """Every energy in one sweep of C, without a map of any derivative."""

    differentiable = ("field",)

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return args.misfits()

    def forward(self, args: Arguments) -> Tensor:
        """The map, or B d with ``reduce``."""
        field = args.field
        dtype = accumulation_dtype(field)
        maps = (field.shape[0], 1 if args.energy in JOINT else field.shape[1])
        if args.reduce:
            sums = torch.empty(maps, dtype=torch.float64, device="cpu")
            native.call("differences_forward", dtype, *_operands(args), None, sums)
            return sums.to(dtype)
        map = torch.empty((*maps, *args.inner()), dtype=dtype, device="cpu")
        native.call("differences_forward", dtype, *_operands(args), map, None)
        return map

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the field, in its dtype."""
        dtype = accumulation_dtype(args.field)
        result = torch.empty(args.field.shape, dtype=dtype, device="cpu")
        grad = grad.to(dtype).contiguous()
        upstream = (None, grad) if args.reduce else (grad, None)
        native.call("differences_backward", dtype, *_operands(args), *upstream, result)
        return result.to(args.field.dtype)


def _operands(args: Arguments) -> tuple[Any, ...]:
    batch, components, *spatial = args.field.shape
    joint, dtype = args.energy in JOINT, accumulation_dtype(args.field)
    joined = components if joint else 1
    scales = tuple(args.axis_scale), tuple(args.component_scale)
    count, *stencils, scale = _stencils(
        args.energy, args.stencil, *scales, tuple(args.lame or (1.0, 1.0)), args.border == "replicate", dtype
    )
    weight, shared = native.shared_weight(args.mask, args.field, dtype, joint)
    return (
        args.field.detach().to(dtype).contiguous(), weight, shared, batch * components // joined,
        native.integers(planes_first(spatial, 1)),
        count, *stencils, scale.expand(batch, components // joined).contiguous(),
    )  # fmt: skip


@functools.lru_cache(64)
def _stencils(
    energy: str,
    stencil: str,
    axis_scale: tuple[float, ...],
    component_scale: tuple[float, ...],
    lame: tuple[float, ...],
    replicate: bool,
    dtype: torch.dtype,
) -> tuple[Any, ...]:
    """The terms as the kernel reads them, and the factor of each component."""
    absolute, joined = energy == "variation", 1
    scale = torch.tensor(component_scale, dtype=torch.float64, device="cpu")
    scale = scale.abs() if absolute else scale.square()
    if energy in JOINT:
        terms, joined, scale = (
            _elasticity(stencil, axis_scale, component_scale, lame),
            len(axis_scale),
            scale.new_ones(1),
        )
    else:
        terms = ENERGIES[energy](stencil, axis_scale)
    taps = [((key[0], *planes_first(key[1:], 0)), weight) for term in terms for key, weight in term.taps.items()]
    reach = [number for each in zip(*reach_of(stencil, axis_scale).values()) for number in planes_first(each, 0)]
    return (
        len(terms),
        torch.tensor([0, *itertools.accumulate(len(term.taps) for term in terms)], device="cpu"),
        torch.tensor([offset for offset, _ in taps], device="cpu"),
        torch.tensor([weight for _, weight in taps], dtype=dtype, device="cpu"),
        torch.tensor([term.factor for term in terms], dtype=dtype, device="cpu"),
        torch.tensor([*reach, joined, int(absolute), int(replicate)], device="cpu"),
        scale.to(dtype),
    )


def _tap(rank: int, moves: dict[int, int], component: int = 0) -> tuple[int, ...]:
    return (component, *(moves.get(axis, 0) for axis in range(rank)))


def _first(stencil: str, axis_scale: Sequence[float], axis: int, component: int = 0) -> Taps:
    """A first derivative along one axis."""
    low, high = (-1, 1) if stencil == "central" else (0, 1)
    rank, scale = len(axis_scale), axis_scale[axis] / (high - low)
    return {_tap(rank, {axis: low}, component): -scale, _tap(rank, {axis: high}, component): scale}


def _second(stencil: str, axis_scale: Sequence[float], axis: int) -> Taps:
    """A second derivative along one axis."""
    step, rank, scale = 2 if stencil == "wide" else 1, len(axis_scale), axis_scale[axis] ** 2
    weights = {-step: 1.0, 0: -2.0, step: 1.0}
    return {_tap(rank, {axis: move}): scale / step**2 * weight for move, weight in weights.items()}


def _slopes(stencil: str, axis_scale: Sequence[float]) -> list[Term]:
    return [Term(1.0, _first(stencil, axis_scale, axis)) for axis, scale in enumerate(axis_scale) if scale]


def _bending(stencil: str, axis_scale: Sequence[float]) -> list[Term]:
    axes, rank = [axis for axis, scale in enumerate(axis_scale) if scale], len(axis_scale)
    terms = [Term(1.0, _second(stencil, axis_scale, axis)) for axis in axes]
    for i, j in itertools.combinations(axes, 2):
        weight = axis_scale[i] * axis_scale[j] / 4
        terms.append(Term(2.0, {_tap(rank, {i: a, j: b}): a * b * weight for a in (-1, 1) for b in (-1, 1)}))
    return terms


def _curvature(stencil: str, axis_scale: Sequence[float]) -> list[Term]:
    return [Term(1.0, _total(_second(stencil, axis_scale, axis) for axis, scale in enumerate(axis_scale) if scale))]


def _elasticity(
    stencil: str, axis_scale: Sequence[float], component_scale: Sequence[float], lame: Sequence[float]
) -> list[Term]:
    axes = range(len(axis_scale))

    def slope(axis: int, component: int) -> Taps:
        taps = _first(stencil, axis_scale, axis, component)
        return {key: weight * component_scale[component] for key, weight in taps.items()}

    terms = [Term(lame[0] / 2, _total(slope(axis, axis) for axis in axes))]
    terms += [Term(lame[1], slope(axis, axis)) for axis in axes]  # the strain counts twice on its diagonal
    for i, j in itertools.combinations(axes, 2):
        terms.append(Term(lame[1] / 2, _total((slope(i, j), slope(j, i)))))
    return terms


def _total(parts: Iterable[Taps]) -> Taps:
    total: Taps = {}
    for taps in parts:
        for key, weight in taps.items():
            total[key] = total.get(key, 0.0) + weight
    return total


ENERGIES = {"diffusion": _slopes, "variation": _slopes, "bending": _bending, "curvature": _curvature}
