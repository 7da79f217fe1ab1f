"""The CPU path of ``resample``: says what ``cpu_kernel.cpp`` can take, and hands it the volumes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.masking import accumulation_dtype
from medloss.ops.resample.reference import Arguments

MOST_VOXELS = 2**31 - 1
"""Of a channel: the kernel's indices have 32 bits."""


class NativeResample(native.NativePath[Arguments]):
    """Positions and weights are found once for all channels, and never kept."""

    differentiable = ("values", "positions")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return args.misfits(MOST_VOXELS)

    def forward(self, args: Arguments) -> Tensor:
        """The values there."""
        dtype = accumulation_dtype(args.values)
        result = torch.empty((*args.values.shape[:2], *args.positions.shape[2:]), dtype=dtype, device="cpu")
        points = _plain(args.positions, dtype)
        native.call("resample_forward", dtype, _plain(args.values, dtype), points, *_told(args), result)
        return result

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the values, in their dtype."""
        dtype = accumulation_dtype(args.values)
        result = torch.empty(args.values.shape, dtype=dtype, device="cpu")
        points = _plain(args.positions, dtype)
        native.call("resample_values", dtype, points, *_told(args), _plain(grad, dtype), result)
        return result.to(args.values.dtype)

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the positions, in their dtype."""
        dtype = accumulation_dtype(args.values)
        result = torch.empty(args.positions.shape, dtype=dtype, device="cpu")
        operands = _plain(args.values, dtype), _plain(args.positions, dtype)
        native.call("resample_points", dtype, *operands, *_told(args), _plain(grad, dtype), result)
        return result.to(args.positions.dtype)


def _plain(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to(dtype).contiguous()


def _told(args: Arguments) -> tuple[Any, Any]:
    """Sizes, and the unit of the positions."""
    batch, channels, *sizes = args.values.shape
    rank = len(sizes)
    grid = [] if args.spacing is None else args.positions.shape[2:]
    padded = [*sizes, *[1] * (3 - rank), *grid]
    told = [batch, channels, rank, args.positions[0, 0].numel(), int(args.spacing is not None), *padded]
    return native.integers(told), native.reals(args.spacing or [1.0] * rank)
