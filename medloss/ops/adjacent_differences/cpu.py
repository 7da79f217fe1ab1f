"""The CPU path of ``adjacent_differences``: one sweep for the sums and one for the gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.adjacent_differences.penalties import code_of
from medloss.ops.adjacent_differences.reference import Arguments
from medloss.ops.axes import planes_first
from medloss.ops.masking import accumulation_dtype


class NativeAdjacentDifferences(native.NativePath[Arguments]):
    """Penalties of the steps between neighbours, without a map of the steps."""

    differentiable = ("input", "target")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return args.misfits()

    def forward(self, args: Arguments) -> Tensor:
        """B C."""
        dtype = accumulation_dtype(args.input)
        values = torch.empty(args.input.shape[:2], dtype=torch.float64, device="cpu")
        native.call("adjacent_differences_forward", dtype, *_operands(args), values)
        return values.to(dtype)

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in its dtype."""
        dtype = accumulation_dtype(args.input)
        result = torch.empty(args.input.shape, dtype=dtype, device="cpu")
        grad = grad.to(torch.float64).contiguous()
        native.call("adjacent_differences_backward", dtype, *_operands(args), grad, result)
        return result.to(args.input.dtype)

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the target, which stands to the input as the input to it."""
        assert args.target is not None
        dtype = accumulation_dtype(args.input)
        exchanged = args._replace(input=args.target.to(dtype), target=args.input.to(dtype))
        return self.backward(grad, exchanged).to(args.target.dtype)


def _operands(args: Arguments) -> tuple[Any, ...]:
    dtype, (batch, channels, *spatial) = accumulation_dtype(args.input), args.input.shape
    mask, shared = native.shared_weight(args.mask, args.input, dtype)
    x = args.input.detach().to(dtype).contiguous()
    t = None if args.target is None else args.target.detach().to(dtype).contiguous()
    return (
        x, t, mask, shared, batch * channels, native.integers(planes_first(spatial, 1)),
        native.reals(planes_first(args.axis_scale, 0.0)),
        code_of(args.penalty, args.shape), int(args.average),
    )  # fmt: skip
