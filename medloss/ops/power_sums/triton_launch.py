"""The GPU path of ``power_sums``: says what ``triton_kernels.py`` can take, and in which tiles it is given it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path, triton_volume
from medloss.ops.masking import accumulation_dtype
from medloss.ops.power_sums.reference import Arguments
from medloss.ops.region_sums.columns import COLUMNS
from medloss.ops.region_sums.triton_launch import short_power
from medloss.ops.triton_volume import Volume

MOST_CLASSES = 256
SHORT = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Exponents whose powers ``triton_kernels.py`` multiplies, or takes roots for."""
REGIONS = {"difference": 0x3F, "likelihood": 0x303F}
"""The columns of the regions that are summed beside an error; the others are zero."""


class TritonPowerSums(triton_path.TritonPath[Arguments]):
    """The activation, the errors, their powers and the sums of the regions in one sweep on a GPU."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return triton_volume.misfits(args.input, args.target, args.indexed, MOST_CLASSES)

    def forward(self, args: Arguments) -> Tensor:
        """B C 2, or more with the regions."""
        from medloss.ops.power_sums import triton_kernels as kernels

        input = args.input
        volume, options, tile = _launch(args)
        programs = volume.programs(tile["TILE"])
        shape, dtype = (volume.batch, programs, volume.classes), accumulation_dtype(input)
        powers = input.new_empty((*shape, 2), dtype=dtype)
        regions = input.new_empty((*shape, COLUMNS), dtype=dtype) if options["REGIONS"] else powers
        # voxels of one thread lie side by side in memory, or a multiple of the threads apart
        rows = triton_volume.even_steps(input)[2] == 1
        with triton_path.on_device(input):
            kernels.forward[(programs, volume.batch)](
                *volume.tensors, regions, powers, *volume.numbers, **options, ROWS=rows, FOLD=4, **tile
            )
            sums = powers.new_empty((volume.batch, volume.classes, 2))
            triton_volume.add_rows(powers, sums, 2, 0b11)
            if not options["REGIONS"]:
                return sums
            known = powers.new_empty((volume.batch, volume.classes, COLUMNS))
            triton_volume.add_rows(regions, known, COLUMNS, REGIONS[args.error])
        return torch.cat([known, sums], -1)

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        from medloss.ops.power_sums import triton_kernels as kernels

        input = args.input
        volume, options, tile = _launch(args)
        gradient = torch.empty_like(input)
        regions, powers = grad[..., :-2].contiguous(), grad[..., -2:].contiguous()
        with triton_path.on_device(input):
            kernels.backward[(volume.programs(tile["TILE"]), volume.batch)](
                *volume.tensors, regions if options["REGIONS"] else powers, powers, gradient, *volume.numbers,
                triton_volume.steps(gradient), **options, **tile,
            )  # fmt: skip
        return gradient


def configuration(volume: Volume, itemsize: int) -> dict[str, Any]:
    """Tiles and warps of a program: a thread has 16 logits (8 doubles, or beyond 64 classes) and all that is made of
    them in registers.
    """
    warps = 4 if volume.padded <= 128 else 8
    logits = 8 if itemsize == 8 or volume.padded > 64 else 16
    tile = max(min(warps * 32 * logits // volume.padded, 1024), 4)
    return {"C": volume.padded, "TILE": tile, "EVEN": volume.voxels % tile == 0, "num_warps": warps}


def _launch(args: Arguments) -> tuple[Volume, dict[str, Any], dict[str, Any]]:
    volume = triton_volume.volume(args.input, args.target, args.mask, args.activation, args.indexed, args.ignore_index)
    tiny = torch.finfo(accumulation_dtype(args.input)).tiny
    options = {
        "ERROR": args.error,
        "exponent": float(args.exponent),
        "POWER": short_power(float(args.exponent), SHORT),
        "BOTH": args.both,
        "REGIONS": args.regions,
        "TINY": tiny,
    }
    return volume, volume.options | options, configuration(volume, args.input.element_size())
