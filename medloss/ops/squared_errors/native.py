"""The CPU path of ``squared_errors``: one pass for the sums, one for the gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.voxels import accumulation_dtype


class NativeSquaredErrors(native.NativePath):
    """Sums in double, and the gradient without a map in between."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        input = args[0]
        found = []
        if input.numel() == 0:
            found.append("there are no voxels")
        if needs is not None and needs[2]:
            found.append("a gradient of the cost is asked for")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C."""
        sums = torch.empty(args[0].shape[:2], dtype=torch.float64)
        native.call("squared_errors_forward", accumulation_dtype(args[0]), *_volumes(args), sums)
        return sums.to(accumulation_dtype(args[0]))

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in its dtype."""
        return self.backward_of(0, grad, args)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input or target, in its dtype."""
        result = torch.empty(args[0].shape, dtype=accumulation_dtype(args[0]))
        slope = (grad.to(torch.float64) * (2 if index == 0 else -2)).contiguous()
        native.call("squared_errors_backward", result.dtype, *_volumes(args), slope, result)
        return result.to(args[index].dtype)


def _volumes(args: tuple[Any, ...]) -> tuple[Tensor | int, ...]:
    dtype, (batch, channels) = accumulation_dtype(args[0]), args[0].shape[:2]
    maps = [tensor.detach().to(dtype).expand(args[0].shape).contiguous() for tensor in args]
    return (*maps, batch * channels, args[0][0, 0].numel())
