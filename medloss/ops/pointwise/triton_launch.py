"""The GPU path of ``pointwise`` for penalties of logits: what ``triton_kernels.py`` can take, and in which tiles."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path, triton_volume
from medloss.ops.masking import accumulation_dtype
from medloss.ops.pointwise.reference import Arguments
from medloss.ops.region_sums.triton_launch import short_power
from medloss.ops.triton_volume import Volume

MOST_CLASSES = 256


class TritonLikelihoods(triton_path.TritonPath[Arguments]):
    """A penalty of logits with labels in one sweep on a GPU; no map of probabilities or labels is made."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return triton_volume.misfits(args.input, args.target, args.indexed, MOST_CLASSES) + args.misfits()

    def forward(self, args: Arguments) -> Tensor:
        """The map, its sums over the classes, over the voxels, or over both."""
        from medloss.ops.pointwise import triton_kernels as kernels

        input, joined = args.input, args.joined
        volume, factors, options = _launch(args)
        tiles, dtype = configuration(volume, input.element_size()), factors[0].dtype
        programs = volume.programs(tiles["TILE"])
        channels = 1 if joined else volume.classes
        if options["GIVEN"] == "sums":
            result = input.new_empty((volume.batch, programs, volume.classes), dtype=dtype)
        else:
            result = input.new_empty((volume.batch, channels, *input.shape[2:]), dtype=dtype)
        with triton_path.on_device(input):
            kernels.forward[(programs, volume.batch)](
                *volume.tensors, *factors, result, *volume.numbers, **options, **tiles
            )
            if options["GIVEN"] != "sums":
                return result
            sums = result.new_empty((volume.batch, volume.classes))
            triton_volume.add_rows(result, sums)
        return sums.sum(1, keepdim=True) if joined else sums

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the logits, in their dtype and layout."""
        from medloss.ops.pointwise import triton_kernels as kernels

        input = args.input
        volume, factors, options = _launch(args)
        tiles = configuration(volume, input.element_size())
        if options["GIVEN"] == "sums":
            grad = grad.expand(volume.batch, volume.classes)
        gradient = torch.empty_like(input)
        with triton_path.on_device(input):
            kernels.backward[(volume.programs(tiles["TILE"]), volume.batch)](
                *volume.tensors, *factors, grad.contiguous(), gradient, *volume.numbers,
                triton_volume.steps(gradient), **options, **tiles,
            )  # fmt: skip
        return gradient


def configuration(volume: Volume, itemsize: int) -> dict[str, Any]:
    """Tiles and warps of a program: a thread has 16 logits and all that is made of them in registers."""
    warps = 4 if volume.padded <= 64 else 8
    tile = max(min(warps * 32 * (8 if itemsize == 8 else 16) // volume.padded, 1024), 1)
    return {"C": volume.padded, "TILE": tile, "EVEN": volume.voxels % tile == 0, "num_warps": warps}


def _launch(args: Arguments) -> tuple[Volume, tuple[Tensor, ...], dict[str, Any]]:
    form, _, activation = args.penalty.rpartition("_")
    if args.penalty == "margin":
        form, activation = "margin", "none"
    volume = triton_volume.volume(args.input, args.target, args.mask, activation, args.indexed, args.ignore_index)
    dtype = accumulation_dtype(args.input)
    factors = tuple(
        args.input.new_ones(volume.classes, dtype=dtype)
        if factor is None
        else factor.detach().to(dtype).flatten().expand(volume.classes).contiguous()
        for factor in (args.positive, args.negative)
    )
    options = {
        "FORM": form or "plain", "gamma": math.exp(-args.gamma) if form == "reverse" else float(args.gamma),
        "POWER": None if form else short_power(float(args.gamma)), "TINY": torch.finfo(dtype).tiny,
        "GIVEN": "sums" if args.reduce else "joined" if args.joined else "map",
    }  # fmt: skip
    return volume, factors, volume.options | options
