"""The CPU path of ``adjacent_differences``: one sweep for the sums and one for the gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.adjacent_differences.penalties import code_of, misfits
from medloss.ops.masking import accumulation_dtype


class NativeAdjacentDifferences(native.NativePath):
    """Penalties of the steps between neighbours, without a map of the steps."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return misfits(args, needs, "native")

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C."""
        dtype = accumulation_dtype(args[0])
        values = torch.empty(args[0].shape[:2], dtype=torch.float64, device="cpu")
        native.call("adjacent_differences_forward", dtype, *_operands(args), values)
        return values.to(dtype)

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in its dtype."""
        dtype = accumulation_dtype(args[0])
        result = torch.empty(args[0].shape, dtype=dtype, device="cpu")
        grad = grad.to(torch.float64).contiguous()
        native.call("adjacent_differences_backward", dtype, *_operands(args), grad, result)
        return result.to(args[0].dtype)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the target, which stands to the input as the input to it."""
        input, target, *others = args
        dtype = accumulation_dtype(input)
        return self.backward(grad, (target.to(dtype), input.to(dtype), *others)).to(target.dtype)


def _operands(args: tuple[Any, ...]) -> tuple[Tensor | int | None, ...]:
    input, target, mask, penalty, shape, axis_scale, average = args
    dtype, (batch, channels, *spatial) = accumulation_dtype(input), input.shape
    mask, shared = native.shared_weight(mask, batch, channels, dtype)
    x = input.detach().to(dtype).contiguous()
    t = target.detach().to(dtype).contiguous() if penalty == "magnitude" else None
    return (
        x, t, mask, shared, batch * channels, torch.tensor(_placed(spatial, 1), device="cpu"),
        torch.tensor(_placed(axis_scale, 0.0), dtype=torch.float64, device="cpu"),
        code_of(penalty, shape), int(average),
    )  # fmt: skip


def _placed(values: list[Any], least: Any) -> tuple[Any, Any, Any]:
    """One number for depth, height and width, from one for each axis that the image has."""
    return {1: (least, least, *values), 2: (values[0], least, values[-1]), 3: tuple(values)}[len(values)]
