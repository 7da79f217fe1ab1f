"""The CPU path of ``region_sums``: says what ``cpu_kernel.c`` can take, and passes the tensors without a copy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.label_tile import gradient_like, label_misfits, label_operands
from medloss.ops.masking import accumulation_dtype
from medloss.ops.region_sums.columns import COLUMNS, Terms


class NativeRegionSums(native.NativePath):
    """Softmax or sigmoid, overlap and likelihood sums in one sweep of C."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        input, target, mask, activation, indexed, _, terms, _ = args
        found = label_misfits(input, target, mask, indexed, needs)
        if activation == "none" and terms & (Terms.LIKELIHOOD | Terms.UNIFORM | Terms.FOCAL):
            found.append("likelihoods are computed from logits, not from probabilities")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C COLUMNS."""
        input = args[0]
        dtype = accumulation_dtype(input)
        sums = torch.empty((*input.shape[:2], COLUMNS), dtype=dtype, device="cpu")
        native.call("region_sums_forward", dtype, *_operands(args), sums)
        return sums

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        dtype = accumulation_dtype(args[0])
        laid, result = gradient_like(args[0])
        native.call("region_sums_backward", dtype, *_operands(args), grad.to(dtype).contiguous(), laid)
        return result


def _operands(args: tuple[Any, ...]) -> tuple[Tensor | int | float | None, ...]:
    *volume, terms, gamma = args
    return (*label_operands(*volume), float(gamma), int(terms))
