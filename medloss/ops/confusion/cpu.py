"""The CPU path of ``confusion``: says what ``cpu_kernel.c`` can take, and passes the tensors without a copy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.label_tile import gradient_like, label_misfits, label_operands
from medloss.ops.masking import accumulation_dtype


class NativeConfusion(native.NativePath):
    """The activation and the confusion matrix in one sweep of C; no map of probabilities is made."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        input, target, mask, _, indexed, _ = args
        return label_misfits(input, target, mask, indexed, needs)

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C C."""
        input = args[0]
        batch, classes = input.shape[:2]
        matrices = torch.empty((batch, classes, classes), dtype=torch.float64, device="cpu")
        native.call("confusion_forward", accumulation_dtype(input), *label_operands(*args), matrices)
        return matrices.to(accumulation_dtype(input))

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        input = args[0]
        dtype = accumulation_dtype(input)
        laid, result = gradient_like(input)
        grad = grad.to(dtype)
        if args[3] == "softmax":  # which has no use for what all prices have in common; equal ones become exactly 0
            shared = grad.mode(-1, keepdim=True).values
            grad = torch.where((grad == shared).sum(-1, keepdim=True) > 1, grad - shared, grad)
        native.call("confusion_backward", dtype, *label_operands(*args), grad.contiguous(), laid)
        return result
