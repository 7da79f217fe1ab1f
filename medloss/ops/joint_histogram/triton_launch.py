"""The GPU path of ``joint_histogram``: says what ``triton_kernels.py`` can take, and launches it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.masking import accumulation_dtype
from medloss.ops.triton_numbers import packed
from medloss.ops.triton_tiles import padded
from medloss.ops.triton_volume import MOST_SAMPLES

GAUSSIAN, SPLINE = range(2)
MOST_BINS = {torch.float32: 128, torch.float64: 64}
"""For whose table there is shared memory on every GPU of these days."""
LEAST_BINS = 16
"""Below this no product of matrices is made: the rest is filled up with bins that take nothing."""
PROGRAMS = 512
"""Per sample at most; a fixed number, so that the order of the sums depends on the image alone."""


class TritonJointHistogram:
    """Window weights as tiles, multiplied as matrices; nothing of voxels times bins is stored."""

    name = "triton"

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        input, _, _, _, kind, bins, _ = args
        found = triton_path.reasons(input)
        if kind == "mattes":
            found.append("kernel='mattes' has no kernel here")
        most = MOST_BINS[accumulation_dtype(input)]
        if bins > most:
            found.append(f"{bins} bins are more than {most}")
        if input.numel() == 0:
            found.append("input has no voxel")
        if input.shape[0] > MOST_SAMPLES:
            found.append(f"{input.shape[0]} samples are more than {MOST_SAMPLES}")
        if needs is not None and any(needs[1:]):
            found.append("a gradient of target, mask or ranges is asked for")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B bins bins."""
        from medloss.ops.joint_histogram import triton_kernels as kernels

        call = _Call(args, forward=True)
        blocks = -(-call.voxels // call.block)
        steps = -(-blocks // PROGRAMS)
        programs = -(-blocks // steps)
        partials = call.images[0].new_empty((call.batch, programs, call.bins, call.bins), dtype=call.dtype)
        with triton_path.on_device(partials):
            kernels.counts[(programs, call.batch)](
                *call.images, call.ranges, partials, *call.sizes, call.sigma, steps, call.bins, **call.options
            )
        return partials.sum(1, dtype=torch.float64).to(call.dtype)

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in input's dtype."""
        from medloss.ops.joint_histogram import triton_kernels as kernels

        call = _Call(args, forward=False)
        result = torch.empty_like(call.images[0])
        with triton_path.on_device(result):
            kernels.gradient[(-(-call.voxels // call.block), call.batch)](
                *call.images, call.ranges, grad.to(call.dtype).contiguous(), result, *call.sizes, call.sigma, call.bins,
                **call.options,
            )  # fmt: skip
        return result


class _Call:
    """What the kernels are given."""

    def __init__(self, args: tuple[Any, ...], forward: bool) -> None:
        input, target, mask, ranges, kind, self.bins, sigma_ratio = args
        self.dtype, self.batch = accumulation_dtype(input), input.shape[0]
        self.voxels, spatial = input[0].numel(), input[0, 0].numel()
        x, y = (image.detach().contiguous() for image in (input, target))
        weight, sample = x, 0
        if mask is not None:
            weight = mask.detach().expand(self.batch, mask.shape[1], *input.shape[2:]).contiguous()
            weight = weight.view(torch.uint8) if weight.dtype == torch.bool else weight
            sample = weight[0].numel()
        self.images = (x, y, weight)
        self.ranges = ranges.detach().to(self.dtype).contiguous()
        self.sigma = packed((float(sigma_ratio),), self.dtype)
        # a mask of one channel begins again with each channel of the images
        shared = mask is not None and mask.shape[1] == 1
        self.sizes = (self.voxels, spatial if shared else self.voxels, sample)
        bins = max(LEAST_BINS, padded(self.bins))
        self.block, warps = configuration(bins, self.dtype, forward)
        self.options = {
            "KIND": SPLINE if kind == "b-spline" else GAUSSIAN, "MASKED": mask is not None, "BINS": bins,
            "EVEN": bins == self.bins, "BLOCK": self.block, "PRECISION": triton_path.precision(self.dtype),
            "num_warps": warps,
        }  # fmt: skip


def configuration(bins: int, dtype: torch.dtype, forward: bool) -> tuple[int, int]:
    """Voxels of a tile and warps of a program: a thread has 16 weights of either image, 8 beside a large table.

    Counting with 32 bins takes 43 instructions of a warp for a voxel with two warps, and 68 with four.
    """
    if forward and bins <= 32 and dtype == torch.float32:
        return 64, 2
    warps, weights = (4, 16) if bins <= 32 else (8, 8)
    return max(16, 32 * warps * weights // bins // (2 if dtype == torch.float64 else 1)), warps
