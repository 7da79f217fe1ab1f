"""``adjacent_differences`` in plain torch: the specification, and what serves where no fast path can."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.adjacent_differences.penalties import code_of
from medloss.ops.masking import accumulation_dtype, blank, spatial_axes
from medloss.ops.misfits import axes_misfits, mask_misfits


class Arguments(NamedTuple):
    """What ``adjacent_differences`` is given."""

    input: Tensor
    target: Tensor | None
    mask: Tensor | None
    penalty: str
    shape: float
    axis_scale: list[float]
    average: bool

    def misfits(self) -> list[str]:
        """Why no kernel can take these arguments; empty where one can."""
        found = axes_misfits(self.input) + mask_misfits(self.mask, self.input)
        if code_of(self.penalty, self.shape) is None:
            found.append(f"{self.penalty} with shape={self.shape} has no kernel")
        elif self.penalty == "magnitude" and (self.target is None or self.target.shape != self.input.shape):
            found.append("target is not an image of the input's shape")
        elif self.penalty != "magnitude" and self.target is not None:
            found.append(f"there is a target, and no kernel looks at it for {self.penalty}")
        if self.input.numel() == 0:
            found.append("input has no voxel")
        return found


def adjacent_differences(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.adjacent_differences.adjacent_differences`."""
    dtype = accumulation_dtype(args.input)
    weight = None if args.mask is None else args.mask.to(dtype)
    x = blank(args.input.to(dtype), weight)
    if args.penalty == "isotropic":
        return _isotropic(x, weight, args.axis_scale, args.average)
    y = None
    if args.target is not None:  # an image that only weights may have other channels than the input
        seen = weight.amax(1, keepdim=True) if weight is not None and args.penalty == "edge_aware" else weight
        y = blank(args.target.to(dtype), seen)
    total = x.new_zeros(x.shape[:2])
    for axis, scale in enumerate(args.axis_scale, start=2):
        d = scale * x.diff(dim=axis)
        e = None if y is None else scale * y.diff(dim=axis)
        values = _penalised(d, e, args.penalty, args.shape)
        pairs = torch.ones_like(values) if weight is None else pair_weight(weight, axis).expand(values.shape)
        total = total + _summed(values, pairs, args.average)
    return total


def pair_weight(weight: Tensor, axis: int) -> Tensor:
    """The weight of each pair of neighbours along an axis: the lesser one, so that a pair needs both."""
    size = weight.shape[axis]
    return torch.minimum(weight.narrow(axis, 0, size - 1), weight.narrow(axis, 1, size - 1))


def _penalised(d: Tensor, e: Tensor | None, penalty: str, shape: float) -> Tensor:
    if e is None or penalty not in ("edge_aware", "magnitude"):
        return d.abs()
    if penalty == "edge_aware":
        return d.abs() * torch.exp(-shape * e.abs().mean(1, keepdim=True))
    difference = (d.abs() - e.abs()).abs()
    return difference if shape == 1 else difference**shape


def _summed(values: Tensor, weight: Tensor, average: bool) -> Tensor:
    """Sum or mean over the voxels; the mean of no weight is 0."""
    axes = spatial_axes(values)
    total = (values * weight).sum(axes)
    if not average:
        return total
    mass = weight.sum(axes)
    return total / torch.where(mass > 0, mass, torch.ones_like(mass))


def _isotropic(x: Tensor, weight: Tensor | None, axis_scale: list[float], average: bool) -> Tensor:
    """The length of the gradient at each voxel, of the forward differences that it has."""
    energy = torch.zeros_like(x)
    for axis, scale in enumerate(axis_scale, start=2):
        d = (scale * x.diff(dim=axis)) ** 2
        d = d if weight is None else torch.where(pair_weight(weight, axis) > 0, d, torch.zeros_like(d))
        energy = energy + torch.nn.functional.pad(d, [0, 0] * (x.ndim - axis - 1) + [0, 1])
    some = energy != 0  # the root has no slope at 0; NaN stays NaN
    length = torch.where(some, torch.where(some, energy, torch.ones_like(energy)).sqrt(), torch.zeros_like(energy))
    return _summed(length, torch.ones_like(x) if weight is None else weight.expand(x.shape), average)
