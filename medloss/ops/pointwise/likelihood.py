"""The CPU path of ``pointwise`` for penalties of logits: one sweep for the map or its sums, one for the gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.label_tile import ACTIVATIONS, gradient_like, label_misfits, label_operands
from medloss.ops.masking import accumulation_dtype

CODES = {"": 0, "poly": 1, "power": 2, "smoothed": 3, "margin": 4, "reverse": 5}
"""Forms of a penalty as ``likelihood.h`` numbers them."""
EACH_CLASS, ALL_CLASSES, SUMS = range(3)
"""What stands for the map."""


class NativeLikelihoods(native.NativePath):
    """A penalty of logits with labels, without a map of probabilities, labels or any part of the penalty."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        input, target, mask, penalty, indexed, _, gamma, positive, negative = args[:9]
        found = label_misfits(input, target, mask, indexed, None if needs is None else needs[:3])
        batch, classes, *spatial = input.shape
        if target.shape != (batch, 1 if indexed else classes, *spatial):
            found.append(f"target is no map of the input's shape, but {list(target.shape)}")
        if mask is not None and (mask.shape[0] not in (1, batch) or list(mask.shape[2:]) != spatial):
            found.append("the mask does not fit the input")
        if any(factors is not None and factors.numel() not in (1, classes) for factors in (positive, negative)):
            found.append(f"the factors are not those of {classes} classes")
        if needs is not None and any(needs[3:]):
            found.append("a gradient of the factors is asked for")
        if penalty in ACTIVATIONS and gamma < 0:
            found.append("the focal exponent is below 0")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map, its sums over the classes, over the voxels, or over both."""
        input, reduce, joined = args[0], args[9], args[11]
        dtype, (batch, classes, *spatial) = accumulation_dtype(input), input.shape
        if reduce:
            sums = torch.empty((batch, classes), dtype=torch.float64, device="cpu")
            native.call("likelihood_forward", dtype, *_operands(args), SUMS, None, sums)
            return (sums.sum(1, keepdim=True) if joined else sums).to(dtype)
        map = torch.empty((batch, 1 if joined else classes, *spatial), dtype=dtype, device="cpu")
        native.call("likelihood_forward", dtype, *_operands(args), ALL_CLASSES if joined else EACH_CLASS, map, None)
        return map

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the logits, in their dtype and layout."""
        input, reduce, joined = args[0], args[9], args[11]
        dtype = accumulation_dtype(input)
        grad = grad.to(dtype)
        if reduce and joined:
            grad = grad.expand(input.shape[:2])
        given = SUMS if reduce else ALL_CLASSES if joined else EACH_CLASS
        laid, result = gradient_like(input)
        native.call("likelihood_backward", dtype, *_operands(args), given, grad.contiguous(), laid)
        return result


def _operands(args: tuple[Any, ...]) -> tuple[Tensor | int | float | None, ...]:
    input, target, mask, penalty, indexed, ignore_index, gamma, positive, negative = args[:9]
    form, _, activation = penalty.rpartition("_")
    if penalty == "margin":
        form, activation = "margin", "none"
    volume = label_operands(input, target, mask, activation, indexed, ignore_index)
    dtype, classes = accumulation_dtype(input), input.shape[1]
    factors = (
        torch.ones(classes, dtype=dtype, device="cpu")
        if factor is None
        else factor.detach().to(dtype).flatten().expand(classes).contiguous()
        for factor in (positive, negative)
    )
    return (*volume, CODES[form], float(gamma), *factors)
