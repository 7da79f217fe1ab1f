"""The GPU path of ``squared_errors``: one pass for the sums, one for each gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.triton_volume import LABELS, REALS
from medloss.ops.voxels import accumulation_dtype

BLOCK = 4096
"""Voxels of a program."""


class TritonSquaredErrors:
    """Sums of blocks, added in double, and gradients without a map in between."""

    name = "triton"

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        input = args[0]
        found = triton_path.reasons(input)
        if input.numel() == 0:
            found.append("there are no voxels")
        if input.dtype not in REALS:
            found.append(f"input is {input.dtype}, the kernel takes {', '.join(str(t)[6:] for t in REALS)}")
        found += [f"a map is {map.dtype}" for map in args[1:] if map.dtype not in LABELS]
        found += ["a map has not the input's shape"] * any(map.shape != input.shape for map in args[1:])
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C."""
        from medloss.ops.squared_errors import kernel

        input, dtype = args[0], accumulation_dtype(args[0])
        volumes, voxels, blocks = _sizes(input)
        parts = torch.empty((volumes, blocks), dtype=dtype, device=input.device)
        with triton_path.on_device(input):
            kernel.sums[(volumes * blocks,)](*map(_readable, args), parts, voxels, blocks, BLOCK=BLOCK, num_warps=8)
            return parts.sum(1, dtype=torch.float64).to(dtype).view(input.shape[:2])

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in its dtype."""
        return self.backward_of(0, grad, args)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of a map, in its dtype."""
        from medloss.ops.squared_errors import kernel

        input = args[0]
        volumes, voxels, blocks = _sizes(input)
        result = torch.empty(input.shape, dtype=args[index].dtype, device=input.device)
        grad = grad.to(accumulation_dtype(input)).contiguous()
        with triton_path.on_device(input):
            kernel.gradient[(volumes * blocks,)](
                *map(_readable, args), grad, result, voxels, blocks, INDEX=index, BLOCK=BLOCK, num_warps=8
            )
        return result


def _sizes(input: Tensor) -> tuple[int, int, int]:
    """Volumes, the voxels of each, and its blocks."""
    voxels = input[0, 0].numel()
    return input.shape[0] * input.shape[1], voxels, -(-voxels // BLOCK)


def _readable(map: Tensor) -> Tensor:
    map = map.detach().contiguous()
    return map.view(torch.uint8) if map.dtype == torch.bool else map
