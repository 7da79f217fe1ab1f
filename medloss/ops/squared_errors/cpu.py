"""The CPU path of ``squared_errors``: one pass for the sums, one for the gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.label_tile import gradient_like, label_misfits, label_operands
from medloss.ops.masking import accumulation_dtype


class NativeSquaredErrors(native.NativePath):
    """Sums in double, and the gradient with no map in between."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        input, target, _, mask, _, indexed, _, _ = args
        return label_misfits(input, target, mask, indexed, needs)

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C - first."""
        input, first = args[0], args[7]
        sums = torch.empty((input.shape[0], input.shape[1] - first), dtype=torch.float64, device="cpu")
        native.call("squared_errors_forward", accumulation_dtype(input), *_operands(args), sums)
        return sums.to(accumulation_dtype(input))

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in its dtype and layout."""
        laid, result = gradient_like(args[0])
        slope = (grad.to(torch.float64) * 2).contiguous()
        native.call("squared_errors_backward", accumulation_dtype(args[0]), *_operands(args), slope, laid)
        return result


def _operands(args: tuple[Any, ...]) -> tuple[Any, ...]:
    input, target, cost, mask, activation, indexed, ignore_index, first = args
    shape = (input.shape[0], input.shape[1] - first, *input.shape[2:])
    cost = cost.detach().to(accumulation_dtype(input)).expand(shape).contiguous()
    return (*label_operands(input, target, mask, activation, indexed, ignore_index), cost, first)
