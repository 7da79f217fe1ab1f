"""The CPU path of ``power_sums``: one sweep of C for the sums, one for the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.label_tile import gradient_like, label_misfits, label_operands
from medloss.ops.masking import accumulation_dtype
from medloss.ops.power_sums.reference import Arguments
from medloss.ops.region_sums.columns import COLUMNS


class NativePowerSums(native.NativePath[Arguments]):
    """The activation, the errors, their powers and the sums of the regions of a tile at a time; no map is made."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return label_misfits(args.input, args.target, args.mask, args.indexed)

    def forward(self, args: Arguments) -> Tensor:
        """B C 2, or more with the regions."""
        input, regions, dtype = args.input, args.regions, accumulation_dtype(args.input)
        sums = torch.empty((*input.shape[:2], 2 + regions * COLUMNS), dtype=dtype, device="cpu")
        native.call("power_sums_forward", dtype, *_operands(args), sums)
        return sums

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        dtype = accumulation_dtype(args.input)
        laid, result = gradient_like(args.input)
        native.call("power_sums_backward", dtype, *_operands(args), grad.to(dtype).contiguous(), laid)
        return result


def _operands(args: Arguments) -> tuple[Tensor | int | float | None, ...]:
    volume = label_operands(args.input, args.target, args.mask, args.activation, args.indexed, args.ignore_index)
    return (*volume, int(args.error == "likelihood"), float(args.exponent), int(args.regions), int(args.both))
