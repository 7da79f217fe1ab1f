"""The CPU path of ``jaccard_extension``: says what ``cpu_kernel.cpp`` can take, and passes the tensors as they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.dispatch import KeepingPath
from medloss.ops.jaccard_extension.reference import Arguments
from medloss.ops.label_tile import gradient_like, label_misfits, label_operands

HINGE = 3
MOST_VOXELS = 2**32 - 1
"""Voxels of a row, whose places the kernel keeps in 32 bits."""
LINES = 2 * 4609 + 1
"""Pairs of floats that the steps of a class take, as in bins.h."""
MOST_KEPT = 14
"""At least so many times what is kept from forward to backward is the input, or nothing is kept."""


class NativeJaccardExtension(KeepingPath[Arguments], native.NativePath[Arguments]):
    """Counts of errors in bins, or a radix sort of each class's errors.

    Bins serve hard labels of one weight from 2^15 voxels on: the value is off by up to 1e-5 (3e-5 for a class of a few
    voxels), an entry of the gradient by about 1e-4 of the largest, where float32 probabilities leave that much.
    """

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        input = args.input
        found = label_misfits(input, args.target, args.mask, args.indexed)
        if input.dtype == torch.float64:
            found.append("the kernel sorts by keys of 31 bits, which float64 is finer than")
        if input.shape[0] * input[0, 0].numel() > MOST_VOXELS:
            found.append(f"there are more than {MOST_VOXELS} voxels")
        return found

    def forward(self, args: Arguments) -> Tensor:
        """B C - first 3, or 1 C - first 3."""
        return _forward(args, None)

    def forward_keeping(self, args: Arguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The same, and the steps through each bin where bins may serve and these are small beside the input."""
        input = args.input
        groups = 1 if args.joined else input.shape[0]
        entries = groups * (input.shape[1] - args.first) * LINES * 2
        few = 4 * entries * MOST_KEPT > input.numel() * input.element_size()
        if few or not args.indexed or args.errors not in ("softmax", "sigmoid"):
            return _forward(args, None), ()
        lines = torch.empty(entries, dtype=torch.float32, device="cpu")
        return _forward(args, lines), (lines,)

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        return self.backward_from((), grad, args)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: Arguments) -> Tensor:
        """The same from what the forward pass kept."""
        laid, result = gradient_like(args.input)
        grad = grad.to(torch.float64).contiguous()
        lines = kept[0] if kept else None
        native.call("jaccard_extension_backward", torch.float32, *_operands(args), grad, _sums(args), lines, laid)
        return result


def _forward(args: Arguments, lines: Tensor | None) -> Tensor:
    sums = _sums(args)
    native.call("jaccard_extension_forward", torch.float32, *_operands(args), sums, lines)
    return sums.to(torch.float32)


def _sums(args: Arguments) -> Tensor:
    input, joined, first = args.input, args.joined, args.first
    return torch.empty((1 if joined else input.shape[0], input.shape[1] - first, 3), dtype=torch.float64, device="cpu")


def _operands(args: Arguments) -> tuple[Any, ...]:
    hinge = args.errors == "hinge"
    told = label_operands(
        args.input, args.target, args.mask, "none" if hinge else args.errors, args.indexed, args.ignore_index
    )
    return (*told[:-1], HINGE if hinge else told[-1], int(args.joined), int(args.first))
