"""The CPU path of ``confusion``: says what ``cpu_kernel.cpp`` can take, and passes the tensors without a copy."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.confusion.reference import Arguments
from medloss.ops.label_tile import gradient_like, label_misfits, label_operands
from medloss.ops.masking import accumulation_dtype


class NativeConfusion(native.NativePath[Arguments]):
    """The activation and the confusion matrix in one sweep of C; no map of probabilities is made."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return label_misfits(args.input, args.target, args.mask, args.indexed)

    def forward(self, args: Arguments) -> Tensor:
        """B C C."""
        input = args.input
        batch, classes = input.shape[:2]
        matrices = torch.empty((batch, classes, classes), dtype=torch.float64, device="cpu")
        native.call("confusion_forward", accumulation_dtype(input), *_operands(args), matrices)
        return matrices.to(accumulation_dtype(input))

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        input = args.input
        dtype = accumulation_dtype(input)
        laid, result = gradient_like(input)
        grad = grad.to(dtype)
        if args.activation == "softmax":  # no use for what all prices have in common; equal ones become exactly 0
            shared = grad.mode(-1, keepdim=True).values
            grad = torch.where((grad == shared).sum(-1, keepdim=True) > 1, grad - shared, grad)
        native.call("confusion_backward", dtype, *_operands(args), grad.contiguous(), laid)
        return result


def _operands(args: Arguments) -> tuple[Tensor | int | None, ...]:
    return label_operands(args.input, args.target, args.mask, args.activation, args.indexed, args.ignore_index)
