"""The CPU path of ``joint_histogram``: says what ``cpu_kernel.c`` can take, and passes the tensors."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.masking import accumulation_dtype

NEGLIGIBLE = {torch.float32: 1e-9, torch.float64: 1e-18}
"""The part of a window that its tails may lose, below the rounding of the rest."""
KERNEL = {"gaussian": 0, "b-spline": 1, "mattes": 2}
"""Their numbers in ``cpu_kernel.c``."""
MAX_BINS = 1024
MAX_REACH = 32
LEAST_SIGMA = 0.1
"""Below this sigma, in bins, the kernel's powers of one exponential would overflow."""


class NativeJointHistogram(native.NativePath):
    """Counts in the few bins that a voxel's window reaches, so that nothing of voxels times bins exists."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        input, _, _, _, kernel, bins, sigma_ratio = args
        found = []
        if kernel == "gaussian" and reach(sigma_ratio, bins, accumulation_dtype(input)) > MAX_REACH:
            found.append(f"windows of sigma_ratio={sigma_ratio} reach more than {MAX_REACH} bins far")
        if kernel == "gaussian" and sigma_ratio < LEAST_SIGMA:
            found.append(f"sigma_ratio={sigma_ratio} is below {LEAST_SIGMA}")
        if bins > MAX_BINS:
            found.append(f"{bins} bins are more than {MAX_BINS}")
        if input.numel() == 0:
            found.append("input has no voxel")
        if needs is not None and any(needs[1:]):
            found.append("a gradient of target, mask or ranges is asked for")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B bins bins."""
        input, *_, bins, _ = args
        dtype = accumulation_dtype(input)
        counts = torch.empty((input.shape[0], bins, bins), dtype=torch.float64, device="cpu")
        native.call("joint_histogram_forward", dtype, *_operands(args), counts)
        return counts.to(dtype)

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in input's dtype."""
        input = args[0]
        dtype = accumulation_dtype(input)
        cotangent = grad.to(torch.float64).contiguous()
        result = torch.empty(input.shape, dtype=dtype, device="cpu")
        native.call("joint_histogram_backward", dtype, *_operands(args), cotangent, result)
        same = input.is_contiguous() and input.dtype == dtype
        return result if same else torch.empty_like(input).copy_(result)


def _operands(args: tuple[Any, ...]) -> tuple[Tensor | int | float | None, ...]:
    input, target, mask, ranges, kernel, bins, sigma_ratio = args
    dtype = accumulation_dtype(input)
    if mask is not None:
        mask = mask.to(dtype).expand(input.shape).contiguous()
    x, y = (image.detach().to(dtype).contiguous() for image in (input, target))
    ends = ranges.detach().to(torch.float64).contiguous()
    return (
        x, y, mask, input.shape[0], input[0].numel(), ends, KERNEL[kernel], bins,
        reach(sigma_ratio, bins, dtype), float(sigma_ratio),
    )  # fmt: skip


def reach(sigma_ratio: float, bins: int, dtype: torch.dtype) -> int:
    """Bins on either side of a voxel's own that its Gaussian window touches.

    The first bin left out lies at least h + 1/2 from the intensity and its own at most 1/2: their weights are to each
    other as exp(-h (h + 1) / (2 sigma^2)).
    """
    needed = 2 * sigma_ratio**2 * math.log(1 / NEGLIGIBLE[dtype])
    return min(bins - 1, math.ceil(math.sqrt(needed + 0.25) - 0.5))
