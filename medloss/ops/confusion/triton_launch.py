"""The GPU path of ``confusion``: says what ``triton_kernels.py`` can take, and in which tiles it is given it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path, triton_volume
from medloss.ops.confusion.reference import Arguments
from medloss.ops.masking import accumulation_dtype
from medloss.ops.triton_volume import Volume

MOST_CLASSES, MOST_MEMBERSHIPS = 128, 64


class TritonConfusion(triton_path.TritonPath[Arguments]):
    """The activation and the confusion matrix in one sweep on a GPU; no map of probabilities is made."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        input = args.input
        found = triton_volume.misfits(input, args.target, args.indexed, MOST_CLASSES)
        if input.dtype == torch.float64:
            found.append("input is double, which the tensor cores do not multiply")
        if not args.indexed and input.shape[1] > MOST_MEMBERSHIPS:
            found.append(f"memberships of {input.shape[1]} classes are more than {MOST_MEMBERSHIPS}")
        return found

    def forward(self, args: Arguments) -> Tensor:
        """B C C."""
        from medloss.ops.confusion import triton_kernels as kernels

        input = args.input
        volume = _volume(args)
        tiles = configuration(volume)
        programs = volume.programs(tiles["TILE"], 2048 if tiles["C"] <= 32 else 512)
        partials = input.new_empty(
            (volume.batch, programs, volume.classes, volume.classes), dtype=accumulation_dtype(input)
        )
        matrix = partials.new_empty((volume.batch, volume.classes, volume.classes))
        with triton_path.on_device(input):
            kernels.forward[(programs, volume.batch)](
                *volume.tensors, partials, *volume.numbers, **volume.options, **tiles
            )
            triton_volume.add_rows(partials, matrix)
        return matrix

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        from medloss.ops.confusion import triton_kernels as kernels

        input = args.input
        volume = _volume(args)
        tiles = configuration(volume)
        gradient = torch.empty_like(input)
        with triton_path.on_device(input):
            kernels.backward[(volume.programs(tiles["TILE"]), volume.batch)](
                *volume.tensors, grad.contiguous(), gradient, *volume.numbers, triton_volume.steps(gradient),
                **volume.options, **tiles
            )  # fmt: skip
        return gradient


def _volume(args: Arguments) -> Volume:
    return triton_volume.volume(args.input, args.target, args.mask, args.activation, args.indexed, args.ignore_index)


def configuration(volume: Volume) -> dict[str, Any]:
    """Tiles and warps of a program. The tensor cores take no fewer than 16 classes and 16 voxels.

    Larger tiles spill: three passes keep three parts of every number in registers."""
    classes = max(volume.padded, 16)
    tile = max(1024 // classes, 16)
    return {
        "C": classes,
        "TILE": tile,
        "EVEN": volume.voxels % tile == 0,
        "PRECISION": triton_path.precision(torch.float32),
        "num_warps": 4 if classes <= 64 else 8,
        "num_stages": 1,
    }
