"""The CPU path of ``calibration_error``: one sweep for the bins, one for the gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.dispatch import KeepingPath
from medloss.ops.masking import accumulation_dtype, fits

MOST_BINS = 4096


class NativeCalibrationError(KeepingPath, native.NativePath):
    """Mass and excess of each bin in double; what is kept for the gradient is one slope for each bin."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return misfits(args, needs, MOST_BINS)

    def forward_keeping(self, args: tuple[Any, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """B C, and the slope of each bin."""
        input, target, mask, bins = args
        dtype = accumulation_dtype(input)
        p, weight, shared = _operands(input, mask)
        t = target.detach().to(dtype).contiguous()
        errors = torch.empty(input.shape[:2], dtype=dtype, device="cpu")
        slopes = torch.empty((*input.shape[:2], bins + 1), dtype=dtype, device="cpu")
        native.call(
            "calibration_error_forward", dtype, p, t, weight, shared, errors.numel(), input[0, 0].numel(), bins,
            errors, slopes,
        )  # fmt: skip
        return errors, (slopes,)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, from the slopes of the bins."""
        input, _, mask, bins = args
        dtype = accumulation_dtype(input)
        p, weight, shared = _operands(input, mask)
        result = torch.empty(input.shape, dtype=dtype, device="cpu")
        native.call(
            "calibration_error_backward", dtype, p, weight, shared, grad.numel(), input[0, 0].numel(), bins, kept[0],
            grad.to(dtype).contiguous(), result,
        )  # fmt: skip
        return result.to(input.dtype)


def misfits(args: tuple[Any, ...], needs: tuple[bool, ...] | None, most_bins: int) -> list[str]:
    """Why no kernel can take these arguments; empty where one can."""
    input, target, mask, bins = args
    found = []
    if input.numel() == 0 or target.shape != input.shape:
        found.append("target is not of the input's shape, or there is no voxel")
    if mask is not None and not fits(mask, input):
        found.append("the mask does not fit the input")
    if bins > most_bins:
        found.append(f"{bins} bins are more than {most_bins}")
    if needs is not None and any(needs[1:]):
        found.append("a gradient of target or mask is asked for")
    return found


def _operands(input: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None, int]:
    """Probabilities and weights as the kernel reads them, and how many channels share a weight."""
    dtype, (batch, channels) = accumulation_dtype(input), input.shape[:2]
    p = input.detach().to(dtype).contiguous()
    return p, *native.shared_weight(mask, batch, channels, dtype)
