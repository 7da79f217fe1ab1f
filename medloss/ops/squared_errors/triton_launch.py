"""The GPU path of ``squared_errors``: says what ``triton_kernels.py`` can take, and in which tiles it is given it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path, triton_volume
from medloss.ops.masking import accumulation_dtype
from medloss.ops.misfits import REALS, dtype_misfits
from medloss.ops.squared_errors.reference import Arguments
from medloss.ops.triton_volume import Volume

MOST_CLASSES = 256


class TritonSquaredErrors(triton_path.TritonPath[Arguments]):
    """The activation, the errors and their sums in one sweep on a GPU; no map of probabilities is made."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        found = triton_volume.misfits(args.input, args.target, args.indexed, MOST_CLASSES)
        return found + dtype_misfits(REALS, cost=args.cost)

    def forward(self, args: Arguments) -> Tensor:
        """B C - first."""
        from medloss.ops.squared_errors import triton_kernels as kernels

        input, first = args.input, args.first
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

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        from medloss.ops.squared_errors import triton_kernels as kernels

        input = args.input
        volume, cost, options = _prepared(args)
        gradient = torch.empty_like(input)
        with triton_path.on_device(input):
            kernels.backward[(volume.programs(options["TILE"]), volume.batch)](
                *volume.tensors, cost, grad.contiguous(), gradient, *volume.numbers, triton_volume.steps(cost),
                triton_volume.steps(gradient), **options,
            )  # fmt: skip
        return gradient


def _prepared(args: Arguments) -> tuple[Volume, Tensor, dict[str, Any]]:
    """The volume, the cost with even strides, and what the kernels are compiled for."""
    input, first = args.input, args.first
    volume = triton_volume.volume(input, args.target, args.mask, args.activation, args.indexed, args.ignore_index)
    cost = args.cost.detach().expand(input.shape[0], volume.classes - first, *input.shape[2:])
    cost = cost if triton_volume.steps(cost) is not None else cost.contiguous()
    tile = max(2048 // volume.padded, 16)
    tiles = {"C": volume.padded, "TILE": tile, "EVEN": volume.voxels % tile == 0, "FIRST": first, "num_warps": 4}
    return volume, cost, volume.options | tiles
