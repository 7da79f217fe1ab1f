"""The CPU path of ``joint_histogram``: says what ``cpu_kernel.cpp`` can take, and passes the tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.joint_histogram.reference import Arguments
from medloss.ops.masking import accumulation_dtype

NEGLIGIBLE = {torch.float32: 1e-9, torch.float64: 1e-18}
"""The part of a window that its tails may lose, below the rounding of the rest."""
KERNEL = {"gaussian": 0, "b-spline": 1, "mattes": 2}
"""Their numbers in ``cpu_kernel.cpp``."""
MAX_BINS = 1024
MAX_REACH = 32
LEAST_SIGMA = 0.1
"""Below this sigma, in bins, the kernel's powers of one exponential would overflow."""


class NativeJointHistogram(native.NativePath[Arguments]):
    """Counts in the few bins that a voxel's window reaches, so that nothing of voxels times bins exists."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        sigma_ratio = args.sigma_ratio
        found = args.misfits(MAX_BINS)
        if args.kernel == "gaussian" and reach(sigma_ratio, args.bins, accumulation_dtype(args.input)) > MAX_REACH:
            found.append(f"windows of sigma_ratio={sigma_ratio} reach more than {MAX_REACH} bins far")
        if args.kernel == "gaussian" and sigma_ratio < LEAST_SIGMA:
            found.append(f"sigma_ratio={sigma_ratio} is below {LEAST_SIGMA}")
        return found

    def forward(self, args: Arguments) -> Tensor:
        """B bins bins."""
        dtype = accumulation_dtype(args.input)
        counts = torch.empty((args.input.shape[0], args.bins, args.bins), dtype=torch.float64, device="cpu")
        native.call("joint_histogram_forward", dtype, *_operands(args), counts)
        return counts.to(dtype)

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in input's dtype."""
        input = args.input
        dtype = accumulation_dtype(input)
        cotangent = grad.to(torch.float64).contiguous()
        result = torch.empty(input.shape, dtype=dtype, device="cpu")
        native.call("joint_histogram_backward", dtype, *_operands(args), cotangent, result)
        same = input.is_contiguous() and input.dtype == dtype
        return result if same else torch.empty_like(input).copy_(result)


def _operands(args: Arguments) -> tuple[Tensor | int | float | None, ...]:
    input, mask = args.input, args.mask
    dtype = accumulation_dtype(input)
    if mask is not None:
        mask = mask.to(dtype).expand(input.shape).contiguous()
    x, y = (image.detach().to(dtype).contiguous() for image in (input, args.target))
    ends = args.ranges.detach().to(torch.float64).contiguous()
    return (
        x, y, mask, input.shape[0], input[0].numel(), ends, KERNEL[args.kernel], args.bins,
        reach(args.sigma_ratio, args.bins, dtype), float(args.sigma_ratio),
    )  # fmt: skip


def reach(sigma_ratio: float, bins: int, dtype: torch.dtype) -> int:
    """Bins on either side of a voxel's own that its Gaussian window touches.

    The first bin left out lies at least h + 1/2 from the intensity and its own at most 1/2: their weights are to each
    other as exp(-h (h + 1) / (2 sigma^2)).
    """
    needed = 2 * sigma_ratio**2 * math.log(1 / NEGLIGIBLE[dtype])
    return min(bins - 1, math.ceil(math.sqrt(needed + 0.25) - 0.5))
