"""``gradient_alignment`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, spatial_axes
from medloss.ops.misfits import axes_misfits, mask_misfits


class Arguments(NamedTuple):
    """What ``gradient_alignment`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    axis_scale: list[float]
    edge: float
    relative: bool
    reduce: bool

    def misfits(self) -> list[str]:
        """Why no kernel can take these arguments; empty where one can."""
        found = axes_misfits(self.input) + mask_misfits(self.mask, self.input)
        if self.target.shape != self.input.shape or self.input.numel() == 0:
            found.append("target is not of the input's shape, or there is no voxel")
        return found


def gradient_alignment(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.gradient_alignment.gradient_alignment`."""
    dtype = accumulation_dtype(args.input)
    weight = None if args.mask is None else args.mask.to(dtype).expand(args.input.shape)
    both, lengths = [], []
    for image in (args.input, args.target):
        slopes = gradient(blank(image.to(dtype), weight), None if weight is None else weight > 0, args.axis_scale)
        squares = (slopes * slopes).sum(0)
        energy: Tensor | float = args.edge**2
        if args.relative:
            axes = spatial_axes(squares)
            energy = energy * (squares.mean(axes, keepdim=True) if weight is None else weighted_mean(squares, weight))
        # a constant image has no direction, whose length would be 0 / 0
        lengths.append((squares + energy).clamp_min(torch.finfo(dtype).tiny).rsqrt())
        both.append(slopes)
    unlike = 1 - ((both[0] * both[1]).sum(0) * lengths[0] * lengths[1]) ** 2
    unlike = unlike if weight is None else unlike * weight
    return unlike.sum(spatial_axes(unlike)) if args.reduce else unlike


def weighted_mean(map: Tensor, weight: Tensor) -> Tensor:
    """The mean over the voxels of each sample and channel, 0 where nothing counts."""
    axes = spatial_axes(map)
    mass = weight.sum(axes, keepdim=True)
    return (map * weight).sum(axes, keepdim=True) / torch.where(mass > 0, mass, torch.ones_like(mass))


def gradient(image: Tensor, seen: Tensor | None, axis_scale: list[float]) -> Tensor:
    """Derivatives along each axis, axes B C [spatial].

    Half the difference of both neighbours; the whole difference to one where the other is not there; 0 without any.
    """
    slopes = []
    for axis, scale in enumerate(axis_scale, start=2):
        size = image.shape[axis] - 1
        if seen is None:
            step = scale * (image.narrow(axis, 1, size) - image.narrow(axis, 0, size))
            slopes.append(mean_of_neighbours(step, axis) if size else torch.cat([step, torch.zeros_like(image)], axis))
            continue
        pair = seen.narrow(axis, 1, size) & seen.narrow(axis, 0, size)
        step = image.narrow(axis, 1, size) - image.narrow(axis, 0, size)
        step = torch.where(pair, step, torch.zeros_like(step))
        edge, ends = torch.zeros_like(image.narrow(axis, 0, 1)), torch.zeros_like(seen.narrow(axis, 0, 1))
        total = torch.cat([step, edge], axis) + torch.cat([edge, step], axis)
        count = torch.cat([pair, ends], axis).to(image.dtype) + torch.cat([ends, pair], axis).to(image.dtype)
        slopes.append(scale * total / count.clamp_min(1))
    return torch.stack(slopes)


def mean_of_neighbours(step: Tensor, axis: int) -> Tensor:
    """Half the sum of the steps to and from each voxel, of n - 1 steps between n voxels; the only one at the ends."""
    size = step.shape[axis]
    inner = (step.narrow(axis, 1, size - 1) + step.narrow(axis, 0, size - 1)) / 2
    return torch.cat([step.narrow(axis, 0, 1), inner, step.narrow(axis, size - 1, 1)], axis)
