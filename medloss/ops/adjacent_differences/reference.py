"""``adjacent_differences`` in plain torch: the specification, and what serves where no fast path can."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, spatial_axes


def adjacent_differences(
    input: Tensor,
    target: Tensor | None,
    mask: Tensor | None,
    penalty: str,
    shape: float,
    axis_scale: list[float],
    average: bool,
) -> Tensor:
    """See :func:`medloss.ops.adjacent_differences.adjacent_differences`."""
    dtype = accumulation_dtype(input)
    weight = None if mask is None else mask.to(dtype)
    x = blank(input.to(dtype), weight)
    if penalty == "isotropic":
        return _isotropic(x, weight, axis_scale, average)
    y = None
    if target is not None:  # an image that only weights may have other channels than the input
        seen = weight.amax(1, keepdim=True) if weight is not None and penalty == "edge_aware" else weight
        y = blank(target.to(dtype), seen)
    total = x.new_zeros(x.shape[:2])
    for axis, scale in enumerate(axis_scale, start=2):
        d = scale * x.diff(dim=axis)
        e = None if y is None else scale * y.diff(dim=axis)
        values = _penalised(d, e, penalty, shape)
        pairs = torch.ones_like(values) if weight is None else pair_weight(weight, axis).expand(values.shape)
        total = total + _summed(values, pairs, average)
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
