"""``differences`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, added, blank, constants, spatial_axes
from medloss.ops.misfits import axes_misfits, mask_misfits

REACH = {
    "central": (1, 1), "forward": (0, 1), "backward": (1, 0), "compact": (1, 1), "wide": (2, 2), "all": (0, 1),
}  # fmt: skip
"""Voxels that each stencil needs before and behind its centre, along every axis."""

JOINT = ("elasticity",)
"""Energies that join the components of the field, and so have one map in place of one for each component."""


class Arguments(NamedTuple):
    """What ``differences`` is given."""

    field: Tensor
    mask: Tensor | None
    energy: str
    stencil: str
    axis_scale: list[float]
    component_scale: list[float]
    reduce: bool
    border: str
    lame: list[float] | None

    def inner(self) -> list[int]:
        """How many stencils there are along each axis."""
        return interior_sizes(self.field, self.stencil, self.axis_scale, self.border)

    def misfits(self) -> list[str]:
        """Why no kernel can take these arguments; empty where one can."""
        found = axes_misfits(self.field) + mask_misfits(self.mask, self.field)
        if not any(self.axis_scale):
            found.append("no axis is differentiated")
        elif self.field.numel() == 0 or min(self.inner()) < 1:
            found.append("no stencil lies inside")
        if self.energy in JOINT and (self.field.shape[1] != self.field.ndim - 2 or not all(self.axis_scale)):
            found.append(f"{self.energy} needs a component and a derivative for each axis")
        return found


def differences(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.differences.differences`."""
    weight = None if args.mask is None else args.mask.to(accumulation_dtype(args.field))
    u = blank(args.field.to(accumulation_dtype(args.field)), weight)
    components = constants(args.component_scale, u).view(1, -1, *[1] * (u.ndim - 2))
    slopes = Stencil(u * components, args.stencil, args.axis_scale, args.border)
    map = _elasticity(slopes, args.lame or [1.0, 1.0]) if args.energy == "elasticity" else ENERGIES[args.energy](slopes)
    if weight is not None:
        weight = weight.amin(1, keepdim=True) if args.energy in JOINT else weight
        map = map * interior_weight(weight, args.stencil, args.border, args.axis_scale)
    return map.sum(spatial_axes(map)) if args.reduce else map


def interior_weight(
    weight: Tensor, stencil: str, border: str = "interior", axis_scale: Sequence[float] | None = None
) -> Tensor:
    """The weight of each stencil: its centre's, and zero where any voxel that it may touch has none."""
    reach = reach_of(stencil, axis_scale or [1.0] * (weight.ndim - 2))
    weight = extended(weight, reach) if border == "replicate" else weight
    centre = shifted(weight, {}, reach)
    for axis, (before, behind) in reach.items():
        weight = weight.unfold(axis, before + behind + 1, 1).amin(-1)
    return torch.where(weight > 0, centre, torch.zeros_like(centre))


def reach_of(stencil: str, axis_scale: Sequence[float]) -> dict[int, tuple[int, int]]:
    """Voxels needed before and behind along each axis: none where the scale is 0, since nothing is differentiated."""
    return {axis: REACH[stencil] if scale else (0, 0) for axis, scale in enumerate(axis_scale, start=2)}


def interior_sizes(field: Tensor, stencil: str, axis_scale: Sequence[float], border: str) -> list[int]:
    """How many stencils there are along each axis."""
    lost = [0 if border == "replicate" else sum(reach) for reach in reach_of(stencil, axis_scale).values()]
    return [size - less for size, less in zip(field.shape[2:], lost, strict=True)]


def extended(u: Tensor, reach: dict[int, tuple[int, int]]) -> Tensor:
    """``u`` continued beyond its border by the values at the border, as far as the stencil reaches.

    By concatenation, whose gradient is deterministic on every device, as that of replication padding is not.
    """
    for axis, (before, behind) in reach.items():
        first, last = u.narrow(axis, 0, 1), u.narrow(axis, u.shape[axis] - 1, 1)
        u = torch.cat([first] * before + [u] + [last] * behind, axis)
    return u


def shifted(u: Tensor, offsets: dict[int, int], reach: dict[int, tuple[int, int]]) -> Tensor:
    """The interior of ``u``, moved by some voxels along some axes."""
    slices = [slice(None)] * u.ndim
    for axis, (before, behind) in reach.items():
        offset = offsets.get(axis, 0)
        slices[axis] = slice(before + offset, u.shape[axis] - behind + offset)
    return u[tuple(slices)]


class Stencil:
    """The finite differences of a field, each times the scale of its axes, at the voxels that have the neighbours."""

    def __init__(self, u: Tensor, name: str, axis_scale: Sequence[float], border: str = "interior") -> None:
        self.name, self.scale = name, dict(enumerate(axis_scale, start=2))
        self.reach = reach_of(name, axis_scale)
        self.u = extended(u, self.reach) if border == "replicate" else u
        self.axes = [axis for axis, scale in self.scale.items() if scale]

    def at(self, offsets: dict[int, int]) -> Tensor:
        """The field some voxels further along some axes."""
        return shifted(self.u, offsets, self.reach)

    def first(self, axis: int) -> Tensor:
        """First derivatives of all components along an axis."""
        low, high = {"central": (-1, 1), "forward": (0, 1), "backward": (-1, 0)}[self.name]
        return self.scale[axis] / (high - low) * (self.at({axis: high}) - self.at({axis: low}))

    def second(self, axis: int) -> Tensor:
        """Pure second derivatives along an axis."""
        step = 2 if self.name == "wide" else 1  # wide: a central difference of central differences
        bend = self.at({axis: step}) - 2 * self.at({}) + self.at({axis: -step})
        return self.scale[axis] ** 2 / step**2 * bend

    def mixed(self, i: int, j: int) -> Tensor:
        """Mixed second derivatives along two axes."""
        twist = self.at({i: 1, j: 1}) - self.at({i: 1, j: -1}) - self.at({i: -1, j: 1}) + self.at({i: -1, j: -1})
        return self.scale[i] * self.scale[j] / 4 * twist


def _diffusion(slopes: Stencil) -> Tensor:
    return added(slopes.first(axis) ** 2 for axis in slopes.axes)


def _variation(slopes: Stencil) -> Tensor:
    return added(slopes.first(axis).abs() for axis in slopes.axes)


def _bending(slopes: Stencil) -> Tensor:
    terms = []
    for number, i in enumerate(slopes.axes):
        terms.append(slopes.second(i) ** 2)
        terms += [2 * slopes.mixed(i, j) ** 2 for j in slopes.axes[number + 1 :]]
    return added(terms)


def _curvature(slopes: Stencil) -> Tensor:
    return added(slopes.second(axis) for axis in slopes.axes) ** 2


def _elasticity(slopes: Stencil, lame: list[float]) -> Tensor:
    along = [slopes.first(axis) for axis in slopes.scale]  # along[j][:, k] is the derivative of u_k along axis j
    gradient = [[slope[:, k : k + 1] for k in range(len(along))] for slope in along]
    divergence = added(gradient[j][j] for j in range(len(along)))
    strain = added((gradient[j][k] + gradient[k][j]) ** 2 for j in range(len(along)) for k in range(len(along)))
    return lame[0] / 2 * divergence**2 + lame[1] / 4 * strain


ENERGIES = {"diffusion": _diffusion, "variation": _variation, "bending": _bending, "curvature": _curvature}
