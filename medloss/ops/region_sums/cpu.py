"""The CPU path of ``region_sums``: says what ``cpu_kernel.cpp`` can take, and passes the tensors without a copy."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.label_tile import gradient_like, label_misfits, label_operands
from medloss.ops.masking import accumulation_dtype
from medloss.ops.region_sums.columns import COLUMNS
from medloss.ops.region_sums.reference import Arguments


class NativeRegionSums(native.NativePath[Arguments]):
    """Softmax or sigmoid, overlap and likelihood sums in one sweep of C."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return label_misfits(args.input, args.target, args.mask, args.indexed) + args.misfits()

    def forward(self, args: Arguments) -> Tensor:
        """B C COLUMNS."""
        input = args.input
        dtype = accumulation_dtype(input)
        sums = torch.empty((*input.shape[:2], COLUMNS), dtype=dtype, device="cpu")
        native.call("region_sums_forward", dtype, *_operands(args), sums)
        return sums

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        dtype = accumulation_dtype(args.input)
        laid, result = gradient_like(args.input)
        native.call("region_sums_backward", dtype, *_operands(args), grad.to(dtype).contiguous(), laid)
        return result


def _operands(args: Arguments) -> tuple[Tensor | int | float | None, ...]:
    volume = label_operands(args.input, args.target, args.mask, args.activation, args.indexed, args.ignore_index)
    return (*volume, float(args.gamma), int(args.terms))
