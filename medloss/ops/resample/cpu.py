"""The CPU path of ``resample``: says what ``cpu_kernel.c`` can take, and hands it the volumes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.masking import accumulation_dtype

MOST_VOXELS = 2**31 - 1
"""Of a channel: the kernel's indices have 32 bits."""


class NativeResample(native.NativePath):
    """Positions and weights are found once for all channels, and never kept."""

    told = "values are"

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return misfits(args, MOST_VOXELS)

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The values there."""
        values, positions, _ = args
        dtype = accumulation_dtype(values)
        result = torch.empty((*values.shape[:2], *positions.shape[2:]), dtype=dtype, device="cpu")
        points = _plain(positions, dtype)
        native.call("resample_forward", dtype, _plain(values, dtype), points, *_told(args), result)
        return result

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the values, in their dtype."""
        values, positions, _ = args
        dtype = accumulation_dtype(values)
        result = torch.empty(values.shape, dtype=dtype, device="cpu")
        points = _plain(positions, dtype)
        native.call("resample_values", dtype, points, *_told(args), _plain(grad, dtype), result)
        return result.to(values.dtype)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the positions, in their dtype."""
        assert index == 1, "only values and positions have a gradient"
        values, positions, _ = args
        dtype = accumulation_dtype(values)
        result = torch.empty(positions.shape, dtype=dtype, device="cpu")
        operands = _plain(values, dtype), _plain(positions, dtype)
        native.call("resample_points", dtype, *operands, *_told(args), _plain(grad, dtype), result)
        return result.to(positions.dtype)


def misfits(args: tuple[Any, ...], most: int) -> list[str]:
    """Why no kernel can take these arguments; empty where one can that knows ``most`` voxels of a channel."""
    values, positions, spacing = args
    rank, found = values.ndim - 2, []
    if not 1 <= rank <= 3:
        found.append(f"values have {rank} spatial axes, the kernel takes 1 to 3")
    if positions.ndim < 3 or positions.shape[:2] != (values.shape[0], rank):
        found.append("there must be a position for each sample, with a component for each axis")
    elif spacing is not None and (positions.ndim != values.ndim or len(spacing) != rank):
        found.append("a field must have the axes of the values, and a spacing for each")
    if values.numel() == 0 or positions.numel() == 0:
        found.append("there is nothing to read, or nowhere")
    elif values[0, 0].numel() > most:
        found.append(f"a channel has more than {most} voxels")
    return found


def _plain(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to(dtype).contiguous()


def _told(args: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """Sizes, and the unit of the positions."""
    values, positions, spacing = args
    batch, channels, *sizes = values.shape
    rank = len(sizes)
    grid = [] if spacing is None else positions.shape[2:]
    padded = [*sizes, *[1] * (3 - rank), *grid]
    told = [batch, channels, rank, positions[0, 0].numel(), int(spacing is not None), *padded]
    return torch.tensor(told, device="cpu"), torch.tensor(spacing or [1.0] * rank, dtype=torch.float64, device="cpu")
