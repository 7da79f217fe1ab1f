"""The CPU path of ``power_sums``: one sweep of C for the sums, one for the gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.label_tile import gradient_like, label_misfits, label_operands
from medloss.ops.masking import accumulation_dtype
from medloss.ops.region_sums.columns import COLUMNS


class NativePowerSums(native.NativePath):
    """The activation, the errors, their powers and the sums of the regions of a tile at a time; no map is made."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        input, target, mask, _, _, _, indexed = args[:7]
        return label_misfits(input, target, mask, indexed, needs)

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C 2, or more with the regions."""
        input, regions, dtype = args[0], args[8], accumulation_dtype(args[0])
        sums = torch.empty((*input.shape[:2], 2 + regions * COLUMNS), dtype=dtype, device="cpu")
        native.call("power_sums_forward", dtype, *_operands(args), sums)
        return sums

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        dtype = accumulation_dtype(args[0])
        laid, result = gradient_like(args[0])
        native.call("power_sums_backward", dtype, *_operands(args), grad.to(dtype).contiguous(), laid)
        return result


def _operands(args: tuple[Any, ...]) -> tuple[Tensor | int | float | None, ...]:
    input, target, mask, error, exponent, activation, indexed, ignore_index, regions, both = args
    volume = label_operands(input, target, mask, activation, indexed, ignore_index)
    return (*volume, int(error == "likelihood"), float(exponent), int(regions), int(both))
