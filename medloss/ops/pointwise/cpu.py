"""The CPU paths of ``pointwise``: which one takes a penalty, and that of a residual."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.masking import accumulation_dtype, fits
from medloss.ops.pointwise.likelihood import NativeLikelihoods
from medloss.ops.pointwise.penalties import DIVERGENCE, RESIDUAL

CODES = {
    "squared": 0, "absolute": 1, "huber": 2, "charbonnier": 3, "cauchy": 4, "geman_mcclure": 5, "welsch": 6,
    "general": 7,
}  # fmt: skip
"""Penalties as ``cpu_kernel.c`` numbers them."""


class NativePointwise(native.NativePath):
    """The kernel of the penalty's kind."""

    def __init__(self) -> None:
        self._residuals, self._likelihoods = NativeResiduals(), NativeLikelihoods()

    def _of(self, args: tuple[Any, ...]) -> NativeResiduals | NativeLikelihoods:
        return self._residuals if args[3] in RESIDUAL or args[3] in DIVERGENCE else self._likelihoods

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return self._of(args).unfit(args, needs)

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map or its sums."""
        return self._of(args).forward(args)

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input."""
        return self._of(args).backward(grad, args)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the target of a residual."""
        return self._residuals.backward_of(index, grad, args)


class NativeResiduals(native.NativePath):
    """A penalty of the difference of two images: a sweep for its sums and one for the gradient, and no map between."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        input, target, mask, penalty, indexed = args[:5]
        found = []
        if penalty not in CODES:
            found.append(f"{penalty} is no penalty of a residual")
        if args[11]:
            found.append("the sum over the channels is asked for")
        if indexed or target.shape != input.shape:
            found.append("target is not an image of the input's shape")
        if mask is not None and not fits(mask, input):
            found.append("the mask does not fit the images")
        if input.numel() == 0:
            found.append("input has no voxel")
        if needs is not None and any(needs[2:]):
            found.append("a gradient of the mask is asked for")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map, or B C with ``reduce``."""
        input, reduce = args[0], args[9]
        dtype = accumulation_dtype(input)
        if reduce:
            sums = torch.empty(input.shape[:2], dtype=torch.float64, device="cpu")
            native.call("pointwise_forward", dtype, *_operands(args), None, sums)
            return sums.to(dtype)
        map = torch.empty(input.shape, dtype=dtype, device="cpu")
        native.call("pointwise_forward", dtype, *_operands(args), map, None)
        return map

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in its dtype."""
        return self._slope(grad, args).to(args[0].dtype)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the target, from which the residual is taken off."""
        return self._slope(-grad, args).to(args[index].dtype)

    def _slope(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        dtype = accumulation_dtype(args[0])
        grad = grad.to(dtype).contiguous()
        result = torch.empty(args[0].shape, dtype=dtype, device="cpu")
        upstream = (None, grad) if args[9] else (grad, None)
        native.call("pointwise_backward", dtype, *_operands(args), *upstream, result)
        return result


def _operands(args: tuple[Any, ...]) -> tuple[Tensor | int | float | None, ...]:
    input, target, mask, penalty, _, _, gamma, _, _, _, scale, _ = args
    dtype, (batch, channels) = accumulation_dtype(input), input.shape[:2]
    mask, shared = native.shared_weight(mask, batch, channels, dtype)
    if penalty == "general":
        penalty, gamma, scale = at_its_limits(gamma, scale)
    x, t = (image.detach().to(dtype).contiguous() for image in (input, target))
    return x, t, mask, shared, batch * channels, input[0, 0].numel(), CODES[penalty], gamma, scale


def at_its_limits(alpha: float, scale: float) -> tuple[str, float, float]:
    """The penalty at its limits; that of alpha = 2 is half a square."""
    if alpha == 2:
        return "squared", alpha, scale * math.sqrt(2)
    if alpha == 0 or math.isinf(alpha):
        return ("welsch" if alpha else "cauchy"), 0.0, scale
    return "general", alpha, scale
