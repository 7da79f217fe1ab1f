"""``joint_histogram`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, added, blank
from medloss.ops.operator import transformed

CHUNK = 2**20
"""Window weights that exist at a time: voxels are taken in chunks, in the backward pass, too."""


class Arguments(NamedTuple):
    """What ``joint_histogram`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    ranges: Tensor
    kernel: str
    bins: int
    sigma_ratio: float

    def misfits(self, most_bins: int) -> list[str]:
        """Why no kernel that knows so many bins can take these arguments; empty where one can."""
        found = [f"{self.bins} bins are more than {most_bins}"] if self.bins > most_bins else []
        return found if self.input.numel() else [*found, "input has no voxel"]


def joint_histogram(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.joint_histogram.joint_histogram`."""
    dtype = accumulation_dtype(args.input)
    weight = None if args.mask is None else args.mask.to(dtype).expand(args.input.shape).flatten(1)
    x, y = (blank(image.to(dtype).flatten(1), weight) for image in (args.input, args.target))
    count = functools.partial(_counts, kernel=args.kernel, bins=args.bins, sigma_ratio=args.sigma_ratio)
    return in_chunks(count, args.bins, x, y, weight, args.ranges.to(dtype))


Count = Callable[[Tensor, Tensor, "Tensor | None", Tensor], Tensor]
"""Voxels x, y and their weights, B V each, and what they share, to their histogram B bins bins."""


def in_chunks(count: Count, bins: int, x: Tensor, y: Tensor, weight: Tensor | None, shared: Tensor) -> Tensor:
    """The histogram of all voxels, whose window weights exist for one chunk of voxels at a time, backward too."""
    step = max(1, CHUNK // max(1, bins * x.shape[0]))
    # functorch and forward mode look through plain torch alone
    if x.shape[1] <= step or transformed():
        return count(x, y, weight, shared)
    return _Chunked.apply(x, y, weight, shared, count, bins, step)


class _Chunked(torch.autograd.Function):
    """The sum of the chunks' histograms."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, weight: Tensor | None, shared: Tensor, count: Count, bins: int, step: int
    ) -> Tensor:
        """The chunks' histograms, added."""
        ctx.save_for_backward(x, y, weight, shared)
        ctx.count, ctx.step = count, step
        total = x.new_zeros(x.shape[0], bins, bins)
        for part_x, part_y, part_weight in _chunks(x, y, weight, step):
            total += count(part_x, part_y, part_weight, shared)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Each chunk's gradient by autograd, itself differentiable where a second derivative is asked for."""
        x, y, weight, shared = ctx.saved_tensors
        second_order, needs = torch.is_grad_enabled(), ctx.needs_input_grad[:4]
        found: list[list[Tensor]] = [[] for _ in needs]
        for chunk in _chunks(x, y, weight, ctx.step):
            arguments: list[Any] = [*chunk, shared]
            with torch.enable_grad():
                if not second_order:
                    arguments = [
                        value.detach().requires_grad_() if need else value for value, need in zip(arguments, needs)
                    ]
                wanted = [value for value, need in zip(arguments, needs) if need]
                counts = ctx.count(*arguments)
                slopes = iter(torch.autograd.grad(counts, wanted, grad, create_graph=second_order, allow_unused=True))
            for slot, value, need in zip(found, arguments, needs):
                if need:
                    slope = next(slopes)
                    slot.append(torch.zeros_like(value) if slope is None else slope)
        gradients = [torch.cat(slot, 1) if slot else None for slot in found[:3]]
        return (*gradients, added(found[3]) if found[3] else None, None, None, None)


def _chunks(x: Tensor, y: Tensor, weight: Tensor | None, step: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """The voxels, so many at a time."""
    weights = None if weight is None else weight.split(step, 1)
    for i, (part_x, part_y) in enumerate(zip(x.split(step, 1), y.split(step, 1), strict=True)):
        yield part_x, part_y, None if weights is None else weights[i]


def _counts(
    x: Tensor, y: Tensor, weight: Tensor | None, ranges: Tensor, kernel: str, bins: int, sigma_ratio: float
) -> Tensor:
    """The histogram of B voxels."""
    low_x, high_x, low_y, high_y = (bound.unsqueeze(-1) for bound in ranges.unbind(1))
    if kernel == "gaussian":
        rows = gaussian(_placed(x, low_x, high_x), bins, sigma_ratio)
        columns = gaussian(_placed(y, low_y, high_y), bins, sigma_ratio)
    elif kernel == "b-spline":
        rows = spline(_placed(x, low_x, high_x), bins, order=3)
        columns = spline(_placed(y, low_y, high_y), bins, order=0)
    else:
        rows = cubic(_placed(x, low_x, high_x) * (bins - 4) + 2, bins)
        columns = floored(_placed(y, low_y, high_y) * (bins - 4) + 2, bins)
    if weight is not None:
        columns = columns * weight.unsqueeze(-1)
    return rows.transpose(1, 2) @ columns


def _placed(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Where each value lies in its range, from 0 to 1; what lies outside is moved to the nearer end."""
    width = torch.where(high > low, high - low, torch.ones_like(high))
    return (torch.clamp(values, low, high) - low) / width


def gaussian(places: Tensor, bins: int, sigma_ratio: float) -> Tensor:
    """Weights B voxels bins: Gaussians around the bins' centres, from 0 to 1, made to sum to one over the bins."""
    centres = torch.arange(bins, dtype=places.dtype, device=places.device)
    distance = places.unsqueeze(-1) * (bins - 1) - centres
    return torch.softmax(-(distance**2) / (2 * sigma_ratio**2), -1)


def spline(places: Tensor, bins: int, order: int) -> Tensor:
    """Weights B voxels bins: cubic B-splines, or boxes for order 0, with two bins of padding on either side."""
    position = torch.clamp(places * (bins - 4) + 2, 2, bins - 3)
    if order == 3:
        return cubic(position, bins)
    centres = torch.arange(bins, dtype=places.dtype, device=places.device)
    distance = (position.unsqueeze(-1) - centres).abs()
    weights = (distance < 0.5).to(places.dtype) + 0.5 * (distance == 0.5).to(places.dtype)
    return weights + 0 * distance  # a slope of 0, and not the lack of one


def cubic(position: Tensor, bins: int) -> Tensor:
    """Weights B voxels bins of cubic B-splines around whole positions."""
    centres = torch.arange(bins, dtype=position.dtype, device=position.device)
    distance = (position.unsqueeze(-1) - centres).abs()
    near = (4 - 6 * distance**2 + 3 * distance**3) / 6
    far = (2 - distance).clamp_min(0) ** 3 / 6
    return torch.where(distance < 1, near, far)


def floored(position: Tensor, bins: int) -> Tensor:
    """Weights B voxels bins of the box that each position lies in; the end of the range lies in the last one."""
    centres = torch.arange(bins, dtype=position.dtype, device=position.device)
    box = position.floor().clamp(2, bins - 3).unsqueeze(-1)
    return (box == centres).to(position.dtype) + 0 * position.unsqueeze(-1)  # a slope of 0, and not the lack of one
