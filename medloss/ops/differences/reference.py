"""``differences`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.voxels import accumulation_dtype, blank, spatial_axes

REACH = {"central": (1, 1), "forward": (0, 1), "compact": (1, 1), "wide": (2, 2)}
"""Voxels that each stencil needs before and behind its centre, along every axis."""


def differences(
    field: Tensor,
    mask: Tensor | None,
    energy: str,
    stencil: str,
    axis_scale: list[float],
    component_scale: list[float],
    reduce: bool,
) -> Tensor:
    """See :func:`medloss.ops.differences.differences`."""
    weight = None if mask is None else mask.to(accumulation_dtype(field))
    u = blank(field.to(accumulation_dtype(field)), weight)
    components = u.new_tensor(component_scale).view(1, -1, *[1] * (u.ndim - 2))
    density = _diffusion if energy == "diffusion" else _bending
    map = density(u * components, stencil, axis_scale)
    if weight is not None:
        map = map * interior_weight(weight, stencil)
    return map.sum(spatial_axes(map)) if reduce else map


def interior_weight(weight: Tensor, stencil: str) -> Tensor:
    """The weight of each stencil: its centre's, and zero where any voxel that it may touch has none."""
    before, behind = REACH[stencil]
    centre = weight
    for axis in range(2, weight.ndim):
        centre = _shifted(centre, {axis: 0}, {axis: (before, behind)})
        windows = weight.unfold(axis, before + behind + 1, 1)
        weight = windows.amin(-1)
    return torch.where(weight > 0, centre, torch.zeros_like(centre))


def _shifted(u: Tensor, offsets: dict[int, int], reach: dict[int, tuple[int, int]]) -> Tensor:
    """The interior of ``u``, moved by some voxels along some axes."""
    slices = [slice(None)] * u.ndim
    for axis, (before, behind) in reach.items():
        offset = offsets.get(axis, 0)
        slices[axis] = slice(before + offset, u.shape[axis] - behind + offset)
    return u[tuple(slices)]


def _diffusion(u: Tensor, stencil: str, scale: list[float]) -> Tensor:
    reach = dict.fromkeys(range(2, u.ndim), REACH[stencil])
    total = 0.0
    for axis, s in enumerate(scale, start=2):
        if stencil == "forward":
            slope = _shifted(u, {axis: 1}, reach) - _shifted(u, {}, reach)
        else:
            slope = (_shifted(u, {axis: 1}, reach) - _shifted(u, {axis: -1}, reach)) / 2
        total = total + (s * slope) ** 2
    return total


def _bending(u: Tensor, stencil: str, scale: list[float]) -> Tensor:
    reach = dict.fromkeys(range(2, u.ndim), REACH[stencil])
    step = 2 if stencil == "wide" else 1  # wide: a central difference of central differences
    total = 0.0
    for i, si in enumerate(scale, start=2):
        pure = _shifted(u, {i: step}, reach) - 2 * _shifted(u, {}, reach) + _shifted(u, {i: -step}, reach)
        total = total + (si * si / step**2 * pure) ** 2
        for j, sj in enumerate(scale[i - 1 :], start=i + 1):
            mixed = (
                _shifted(u, {i: 1, j: 1}, reach)
                - _shifted(u, {i: 1, j: -1}, reach)
                - _shifted(u, {i: -1, j: 1}, reach)
                + _shifted(u, {i: -1, j: -1}, reach)
            )
            total = total + 2 * (si * sj / 4 * mixed) ** 2
    return total
