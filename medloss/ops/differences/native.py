"""The CPU path of ``differences``: an energy as squares of linear stencils, whose taps it hands to ``kernel.c``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.differences.reference import reach_of
from medloss.ops.voxels import accumulation_dtype

Taps = dict[tuple[int, ...], float]
"""Offset along the axes -> weight."""


class NativeDifferences:
    """Diffusion, bending and curvature in one sweep of C, without a map of any derivative."""

    name = "native"

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernel cannot serve; empty where it can."""
        field, mask, energy, stencil, axis_scale, _, _, border, _ = args
        if field.device.type != "cpu":
            return [f"field is on {field.device}, the kernel runs on the CPU"]
        found = []
        if native.unavailable():
            found.append(f"there is no native library: {native.unavailable()}")
        elif native.slow_machine():
            found.append("the processor has no AVX2, without which torch is faster")
        if energy not in ENERGIES:
            found.append(f"{energy} is no sum of squares of one component's derivatives")
        if mask is not None:
            found.append("stencils under a mask have no native kernel")
        if border != "interior":
            found.append(f"a border that is {border}d has no native kernel")
        if not 3 <= field.ndim <= 5:
            found.append(f"field has {field.ndim - 2} spatial axes, the kernel takes 1 to 3")
        elif min(size - sum(r) for size, r in zip(field.shape[2:], reach_of(stencil, axis_scale).values())) < 1:
            found.append("no stencil lies inside")
        if needs is not None and any(needs[1:]):
            found.append("a gradient of the mask is asked for")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map, or B d with ``reduce``."""
        field, _, _, stencil, axis_scale, _, reduce, _, _ = args
        dtype = accumulation_dtype(field)
        if reduce:
            sums = torch.empty(field.shape[:2], dtype=torch.float64)
            native.call("differences_forward", dtype, *_operands(args), None, sums)
            return sums.to(dtype)
        inner = [size - sum(r) for size, r in zip(field.shape[2:], reach_of(stencil, axis_scale).values())]
        map = torch.empty((*field.shape[:2], *inner), dtype=dtype)
        native.call("differences_forward", dtype, *_operands(args), map, None)
        return map

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the field, in its dtype."""
        field, *_, reduce, _, _ = args
        dtype = accumulation_dtype(field)
        result = torch.empty(field.shape, dtype=dtype)
        grad = grad.to(dtype).contiguous()
        upstream = (None, grad) if reduce else (grad, None)
        native.call("differences_backward", dtype, *_operands(args), *upstream, result)
        return result.to(field.dtype)


def _operands(args: tuple[Any, ...]) -> tuple[Tensor | int, ...]:
    field, _, energy, stencil, axis_scale, component_scale, _, _, _ = args
    batch, components, *spatial = field.shape
    terms = ENERGIES[energy](stencil, axis_scale)
    taps = [(_placed(offset), weight) for term in terms for offset, weight in term.items()]
    start = [0, *itertools.accumulate(len(term) for term in terms)]
    reach = [_placed(r) for r in zip(*reach_of(stencil, axis_scale).values())]
    scale = torch.tensor(component_scale, dtype=torch.float64).square().expand(batch, components).contiguous()
    sizes = {1: (1, 1, *spatial), 2: (spatial[0], 1, spatial[-1]), 3: tuple(spatial)}[len(spatial)]
    u = field.detach().to(accumulation_dtype(field)).contiguous()
    return (
        u, batch * components, torch.tensor(sizes), len(terms), torch.tensor(start),
        torch.tensor([offset for offset, _ in taps]).contiguous(),
        torch.tensor([weight for _, weight in taps], dtype=torch.float64), torch.tensor(reach).contiguous(), scale,
    )  # fmt: skip


def _placed(values: Sequence[int]) -> tuple[int, int, int]:
    """One number for depth, height and width, from one for each axis that the field has."""
    return {1: (0, 0, *values), 2: (values[0], 0, values[-1]), 3: tuple(values)}[len(values)]


def _offset(rank: int, moves: dict[int, int]) -> tuple[int, ...]:
    return tuple(moves.get(axis, 0) for axis in range(rank))


def _pure(stencil: str, axis_scale: Sequence[float], axis: int) -> Taps:
    """A second derivative along one axis."""
    step, rank, scale = 2 if stencil == "wide" else 1, len(axis_scale), axis_scale[axis] ** 2
    weights = {-step: 1.0, 0: -2.0, step: 1.0}
    return {_offset(rank, {axis: move}): scale / step**2 * weight for move, weight in weights.items()}


def _diffusion(stencil: str, axis_scale: Sequence[float]) -> list[Taps]:
    low, high = (-1, 1) if stencil == "central" else (0, 1)
    rank = len(axis_scale)
    return [
        {_offset(rank, {axis: low}): -scale / (high - low), _offset(rank, {axis: high}): scale / (high - low)}
        for axis, scale in enumerate(axis_scale)
        if scale
    ]


def _bending(stencil: str, axis_scale: Sequence[float]) -> list[Taps]:
    axes, rank = [axis for axis, scale in enumerate(axis_scale) if scale], len(axis_scale)
    terms = [_pure(stencil, axis_scale, axis) for axis in axes]
    for i, j in itertools.combinations(axes, 2):  # counted twice in the energy, so its root here
        weight = math.sqrt(2) * axis_scale[i] * axis_scale[j] / 4
        terms.append({_offset(rank, {i: a, j: b}): a * b * weight for a in (-1, 1) for b in (-1, 1)})
    return terms


def _curvature(stencil: str, axis_scale: Sequence[float]) -> list[Taps]:
    total: Taps = {}
    for axis, scale in enumerate(axis_scale):
        for offset, weight in _pure(stencil, axis_scale, axis).items() if scale else ():
            total[offset] = total.get(offset, 0.0) + weight
    return [total]


ENERGIES = {"diffusion": _diffusion, "bending": _bending, "curvature": _curvature}
