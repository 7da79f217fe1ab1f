"""The GPU path of ``joint_histogram``: says what ``triton_kernels.py`` can take, and launches it."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.joint_histogram.reference import Arguments
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


class TritonJointHistogram(triton_path.TritonPath[Arguments]):
    """Window weights as tiles, multiplied as matrices; nothing of voxels times bins is stored."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        input = args.input
        found = []
        if args.kernel == "mattes":
            found.append("kernel='mattes' has no kernel here")
        found += args.misfits(MOST_BINS[accumulation_dtype(input)])
        if input.shape[0] > MOST_SAMPLES:
            found.append(f"{input.shape[0]} samples are more than {MOST_SAMPLES}")
        return found

    def forward(self, args: Arguments) -> Tensor:
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

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
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

    def __init__(self, args: Arguments, forward: bool) -> None:
        input, mask = args.input, args.mask
        self.bins, self.dtype, self.batch = args.bins, accumulation_dtype(input), input.shape[0]
        self.voxels, spatial = input[0].numel(), input[0, 0].numel()
        x, y = (image.detach().contiguous() for image in (input, args.target))
        weight, sample = x, 0
        if mask is not None:
            weight = mask.detach().expand(self.batch, mask.shape[1], *input.shape[2:]).contiguous()
            weight = weight.view(torch.uint8) if weight.dtype == torch.bool else weight
            sample = weight[0].numel()
        self.images = (x, y, weight)
        self.ranges = args.ranges.detach().to(self.dtype).contiguous()
        self.sigma = packed((float(args.sigma_ratio),), self.dtype)
        # a mask of one channel begins again with each channel of the images
        shared = mask is not None and mask.shape[1] == 1
        self.sizes = (self.voxels, spatial if shared else self.voxels, sample)
        bins = max(LEAST_BINS, padded(self.bins))
        self.block, warps = configuration(bins, self.dtype, forward)
        self.options = {
            "KIND": SPLINE if args.kernel == "b-spline" else GAUSSIAN, "MASKED": mask is not None, "BINS": bins,
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
