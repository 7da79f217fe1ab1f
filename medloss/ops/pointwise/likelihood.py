"""The CPU path of ``pointwise`` for penalties of logits: one sweep for the map or its sums, one for the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.label_tile import gradient_like, label_misfits, label_operands
from medloss.ops.masking import accumulation_dtype
from medloss.ops.pointwise.reference import Arguments

CODES = {"": 0, "poly": 1, "power": 2, "smoothed": 3, "margin": 4, "reverse": 5}
"""Forms of a penalty as ``likelihood.hpp`` numbers them."""
EACH_CLASS, ALL_CLASSES, SUMS = range(3)
"""What stands for the map."""


class NativeLikelihoods(native.NativePath[Arguments]):
    """A penalty of logits with labels, without a map of probabilities, labels or any part of the penalty."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        batch = args.input.shape[0]
        found = label_misfits(args.input, args.target, args.mask, args.indexed) + args.misfits()
        if args.target.shape[0] != batch or (args.mask is not None and args.mask.shape[0] not in (1, batch)):
            found.append("target or mask is of another batch")
        return found

    def forward(self, args: Arguments) -> Tensor:
        """The map, its sums over the classes, over the voxels, or over both."""
        input, reduce, joined = args.input, args.reduce, args.joined
        dtype, (batch, classes, *spatial) = accumulation_dtype(input), input.shape
        if reduce:
            sums = torch.empty((batch, classes), dtype=torch.float64, device="cpu")
            native.call("likelihood_forward", dtype, *_operands(args), SUMS, None, sums)
            return (sums.sum(1, keepdim=True) if joined else sums).to(dtype)
        map = torch.empty((batch, 1 if joined else classes, *spatial), dtype=dtype, device="cpu")
        native.call("likelihood_forward", dtype, *_operands(args), ALL_CLASSES if joined else EACH_CLASS, map, None)
        return map

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the logits, in their dtype and layout."""
        input, reduce, joined = args.input, args.reduce, args.joined
        dtype = accumulation_dtype(input)
        grad = grad.to(dtype)
        if reduce and joined:
            grad = grad.expand(input.shape[:2])
        given = SUMS if reduce else ALL_CLASSES if joined else EACH_CLASS
        laid, result = gradient_like(input)
        native.call("likelihood_backward", dtype, *_operands(args), given, grad.contiguous(), laid)
        return result


def _operands(args: Arguments) -> tuple[Tensor | int | float | None, ...]:
    form, _, activation = args.penalty.rpartition("_")
    if args.penalty == "margin":
        form, activation = "margin", "none"
    volume = label_operands(args.input, args.target, args.mask, activation, args.indexed, args.ignore_index)
    dtype, classes = accumulation_dtype(args.input), args.input.shape[1]
    factors = (
        torch.ones(classes, dtype=dtype, device="cpu")
        if factor is None
        else factor.detach().to(dtype).flatten().expand(classes).contiguous()
        for factor in (args.positive, args.negative)
    )
    return (*volume, CODES[form], float(args.gamma), *factors)
