"""The CPU path of ``calibration_error``: one sweep for the bins, one for the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.calibration_error.reference import Arguments
from medloss.ops.dispatch import KeepingPath
from medloss.ops.masking import accumulation_dtype

MOST_BINS = 4096


class NativeCalibrationError(KeepingPath[Arguments], native.NativePath[Arguments]):
    """Mass and excess of each bin in double; what is kept for the gradient is one slope for each bin."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return args.misfits(MOST_BINS)

    def forward_keeping(self, args: Arguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        """B C, and the slope of each bin."""
        input = args.input
        dtype = accumulation_dtype(input)
        p, weight, shared = _operands(input, args.mask)
        t = args.target.detach().to(dtype).contiguous()
        errors = torch.empty(input.shape[:2], dtype=dtype, device="cpu")
        slopes = torch.empty((*input.shape[:2], args.bins + 1), dtype=dtype, device="cpu")
        native.call(
            "calibration_error_forward", dtype, p, t, weight, shared, errors.numel(), input[0, 0].numel(), args.bins,
            errors, slopes,
        )  # fmt: skip
        return errors, (slopes,)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, from the slopes of the bins."""
        input = args.input
        dtype = accumulation_dtype(input)
        p, weight, shared = _operands(input, args.mask)
        result = torch.empty(input.shape, dtype=dtype, device="cpu")
        native.call(
            "calibration_error_backward", dtype, p, weight, shared, grad.numel(), input[0, 0].numel(), args.bins,
            kept[0], grad.to(dtype).contiguous(), result,
        )  # fmt: skip
        return result.to(input.dtype)


def _operands(input: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None, int]:
    """Probabilities and weights as the kernel reads them, and how many channels share a weight."""
    dtype = accumulation_dtype(input)
    p = input.detach().to(dtype).contiguous()
    return p, *native.shared_weight(mask, input, dtype)
