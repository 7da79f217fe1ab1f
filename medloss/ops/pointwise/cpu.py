"""The CPU path of ``pointwise`` for penalties that compare two images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.masking import accumulation_dtype
from medloss.ops.pointwise.penalties import DIVERGENCE, RESIDUAL
from medloss.ops.pointwise.reference import Arguments

CODES = {name: code for code, name in enumerate((*RESIDUAL, *DIVERGENCE))}
"""Penalties as ``penalties.hpp`` numbers them: in the order of the reference's tables."""


class NativeResiduals(native.NativePath[Arguments]):
    """A penalty of the difference of two images: a sweep for its sums and one for the gradient, and no map between."""

    differentiable = ("input", "target")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        found = args.misfits()
        if args.joined:
            found.append("the sum over the channels is asked for")
        return found

    def forward(self, args: Arguments) -> Tensor:
        """The map, or B C with ``reduce``."""
        input, reduce = args.input, args.reduce
        dtype = accumulation_dtype(input)
        if reduce:
            sums = torch.empty(input.shape[:2], dtype=torch.float64, device="cpu")
            native.call("pointwise_forward", dtype, *_operands(args), None, sums)
            return sums.to(dtype)
        map = torch.empty(input.shape, dtype=dtype, device="cpu")
        native.call("pointwise_forward", dtype, *_operands(args), map, None)
        return map

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in its dtype."""
        return _gradient(grad, args, of_target=False).to(args.input.dtype)

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the target, in its dtype."""
        return _gradient(grad, args, of_target=True).to(args.target.dtype)


def _gradient(grad: Tensor, args: Arguments, of_target: bool) -> Tensor:
    dtype = accumulation_dtype(args.input)
    grad = grad.to(dtype).contiguous()
    result = torch.empty(args.input.shape, dtype=dtype, device="cpu")
    upstream = (None, grad) if args.reduce else (grad, None)
    native.call("pointwise_backward", dtype, *_operands(args), int(of_target), *upstream, result)
    return result


def _operands(args: Arguments) -> tuple[Tensor | int | float | None, ...]:
    input, penalty, gamma, scale = args.input, args.penalty, args.gamma, args.scale
    dtype, (batch, channels) = accumulation_dtype(input), input.shape[:2]
    mask, shared = native.shared_weight(args.mask, input, dtype)
    if penalty == "general":
        penalty, gamma, scale = at_its_limits(gamma, scale)
    elif penalty in DIVERGENCE:
        scale = 1.0  # which divides residuals alone
    x, t = (image.detach().to(dtype).contiguous() for image in (input, args.target))
    return x, t, mask, shared, batch * channels, input[0, 0].numel(), CODES[penalty], gamma, scale


def at_its_limits(alpha: float, scale: float) -> tuple[str, float, float]:
    """The penalty at its limits; that of alpha = 2 is half a square."""
    if alpha == 2:
        return "squared", alpha, scale * math.sqrt(2)
    if alpha == 0 or math.isinf(alpha):
        return ("welsch" if alpha else "cauchy"), 0.0, scale
    return "general", alpha, scale
