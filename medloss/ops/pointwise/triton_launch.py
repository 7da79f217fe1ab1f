"""The GPU path of ``pointwise`` for penalties of logits: what ``triton_kernels.py`` can take, and in which tiles."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path, triton_volume
from medloss.ops.masking import accumulation_dtype
from medloss.ops.region_sums.triton_launch import short_power
from medloss.ops.triton_volume import Volume

MOST_CLASSES = 256


class TritonLikelihoods:
    """A penalty of logits with labels in one sweep on a GPU; no map of probabilities or labels is made."""

    name = "triton"

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernel cannot serve; empty where it can."""
        input, target, mask, penalty, indexed, _, gamma, positive, negative = args[:9]
        classes, spatial = input.shape[1], list(input.shape[2:])
        found = triton_volume.reasons(input, target, indexed, MOST_CLASSES)
        if list(target.shape[1:]) != [1 if indexed else classes, *spatial]:
            found.append(f"target is no map of the input's shape, but {list(target.shape)}")
        if mask is not None and list(mask.shape[2:]) != spatial:
            found.append("the mask does not fit the input")
        if any(factors is not None and factors.numel() not in (1, classes) for factors in (positive, negative)):
            found.append(f"the factors are not those of {classes} classes")
        if gamma < 0 and penalty in ("softmax", "sigmoid"):
            found.append("the focal exponent is below 0")
        if needs is not None and any(needs[1:]):
            found.append("a gradient of target, mask or factors is asked for")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map, its sums over the classes, over the voxels, or over both."""
        from medloss.ops.pointwise import triton_kernels as kernels

        input, joined = args[0], args[11]
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

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the logits, in their dtype and layout."""
        from medloss.ops.pointwise import triton_kernels as kernels

        input = args[0]
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


def _launch(args: tuple[Any, ...]) -> tuple[Volume, tuple[Tensor, Tensor], dict[str, Any]]:
    input, target, mask, penalty, indexed, ignore_index, gamma, positive, negative, reduce, _, joined = args
    form, _, activation = penalty.rpartition("_")
    if penalty == "margin":
        form, activation = "margin", "none"
    volume = triton_volume.volume(input, target, mask, activation, indexed, ignore_index)
    dtype = accumulation_dtype(input)
    factors = tuple(
        input.new_ones(volume.classes, dtype=dtype)
        if factor is None
        else factor.detach().to(dtype).flatten().expand(volume.classes).contiguous()
        for factor in (positive, negative)
    )
    options = {
        "FORM": form or "plain", "gamma": math.exp(-gamma) if form == "reverse" else float(gamma),
        "POWER": None if form else short_power(float(gamma)), "TINY": torch.finfo(dtype).tiny,
        "GIVEN": "sums" if reduce else "joined" if joined else "map",
    }  # fmt: skip
    return volume, factors, volume.options | options
