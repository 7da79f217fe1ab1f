"""The CPU path of ``squared_errors``: one pass for the sums, one for the gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.label_tile import gradient_like, label_misfits, label_operands
from medloss.ops.masking import accumulation_dtype
from medloss.ops.squared_errors.reference import Arguments


class NativeSquaredErrors(native.NativePath[Arguments]):
    """Sums in double, and the gradient with no map in between."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return label_misfits(args.input, args.target, args.mask, args.indexed)

    def forward(self, args: Arguments) -> Tensor:
        """B C - first."""
        input, first = args.input, args.first
        sums = torch.empty((input.shape[0], input.shape[1] - first), dtype=torch.float64, device="cpu")
        native.call("squared_errors_forward", accumulation_dtype(input), *_operands(args), sums)
        return sums.to(accumulation_dtype(input))

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in its dtype and layout."""
        laid, result = gradient_like(args.input)
        slope = (grad.to(torch.float64) * 2).contiguous()
        native.call("squared_errors_backward", accumulation_dtype(args.input), *_operands(args), slope, laid)
        return result


def _operands(args: Arguments) -> tuple[Any, ...]:
    input = args.input
    shape = (input.shape[0], input.shape[1] - args.first, *input.shape[2:])
    cost = args.cost.detach().to(accumulation_dtype(input)).expand(shape).contiguous()
    volume = label_operands(input, args.target, args.mask, args.activation, args.indexed, args.ignore_index)
    return (*volume, cost, args.first)
