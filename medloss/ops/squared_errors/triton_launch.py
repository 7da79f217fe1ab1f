"""The GPU path of ``squared_errors``: says what ``triton_kernels.py`` can take, and in which tiles it is given it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path, triton_volume
from medloss.ops.masking import accumulation_dtype
from medloss.ops.triton_volume import Volume

MOST_CLASSES = 256


class TritonSquaredErrors:
    """The activation, the errors and their sums in one sweep on a GPU; no map of probabilities is made."""

    name = "triton"

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        input, target, cost, _, _, indexed, _, _ = args
        found = triton_volume.reasons(input, target, indexed, MOST_CLASSES)
        if cost.dtype not in triton_volume.REALS:
            found.append(f"cost is {cost.dtype}")
        if needs is not None and any(needs[1:]):
            found.append("a gradient of target, cost or mask is asked for")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C - first."""
        from medloss.ops.squared_errors import triton_kernels as kernels

        input, first = args[0], args[7]
        volume, cost, options = _prepared(args)
        programs = volume.programs(options["TILE"])
        counted = volume.classes - first
        partials = input.new_empty((volume.batch, programs, counted), dtype=accumulation_dtype(input))
        sums = partials.new_empty((volume.batch, counted))
        with triton_path.on_device(input):
            kernels.forward[(programs, volume.batch)](
                *volume.tensors, cost, partials, *volume.numbers, triton_volume.steps(cost), **options
            )
            triton_volume.add_rows(partials, sums)
        return sums

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        from medloss.ops.squared_errors import triton_kernels as kernels

        input = args[0]
        volume, cost, options = _prepared(args)
        gradient = torch.empty_like(input)
        with triton_path.on_device(input):
            kernels.backward[(volume.programs(options["TILE"]), volume.batch)](
                *volume.tensors, cost, grad.contiguous(), gradient, *volume.numbers, triton_volume.steps(cost),
                triton_volume.steps(gradient), **options,
            )  # fmt: skip
        return gradient


def _prepared(args: tuple[Any, ...]) -> tuple[Volume, Tensor, dict[str, Any]]:
    """The volume, the cost with even strides, and what the kernels are compiled for."""
    input, target, cost, *rest, first = args
    volume = triton_volume.volume(input, target, *rest)
    cost = cost.detach().expand(input.shape[0], volume.classes - first, *input.shape[2:])
    cost = cost if triton_volume.steps(cost) is not None else cost.contiguous()
    tile = max(2048 // volume.padded, 16)
    tiles = {"C": volume.padded, "TILE": tile, "EVEN": volume.voxels % tile == 0, "FIRST": first, "num_warps": 4}
    return volume, cost, volume.options | tiles
