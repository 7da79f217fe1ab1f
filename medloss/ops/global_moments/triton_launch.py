"""The GPU path of ``global_moments``: says what ``triton_kernels.py`` can take, and in which tiles it is given it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.dispatch import KeepingPath
from medloss.ops.global_moments.cpu import LEVELS
from medloss.ops.global_moments.reference import Arguments
from medloss.ops.masking import accumulation_dtype
from medloss.ops.triton_tiles import padded, readable, shared_weight

TILE = {torch.float32: 4096, torch.float64: 2048}
"""Voxels of a program."""
AT_ONCE = 1024
"""Tiles that are joined at once."""


class TritonGlobalMoments(KeepingPath[Arguments], triton_path.TritonPath[Arguments]):
    """Moments of tiles, joined in double in a second launch; a third one writes the gradient."""

    differentiable = ("input", "target")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        return args.misfits()

    def forward_keeping(self, args: Arguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        """B C 4, and five numbers of each volume in double."""
        from medloss.ops.global_moments import triton_kernels as kernels

        input, dtype, pair = args.input, accumulation_dtype(args.input), _pair(args, "input")
        tiles = -(-pair.voxels // TILE[dtype])
        partials = input.new_empty((pair.volumes, tiles, 6), dtype=torch.float64)
        result = input.new_empty((*input.shape[:2], 4), dtype=dtype)
        levels = input.new_empty((pair.volumes, LEVELS), dtype=torch.float64)
        with triton_path.on_device(input):
            kernels.moments[(pair.volumes * tiles,)](
                *pair.tensors, partials, tiles, pair.voxels, pair.shared, **pair.options
            )
            kernels.join[(pair.volumes,)](partials, result, levels, tiles, ROWS=min(AT_ONCE, padded(tiles)))
        return result, (levels,)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in its dtype."""
        return self._gradient("input", grad, args, *kept)

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of either image, in its dtype."""
        return self._gradient(name, grad, args, *self.forward_keeping(args)[1])

    def _gradient(self, name: str, grad: Tensor, args: Arguments, levels: Tensor) -> Tensor:
        from medloss.ops.global_moments import triton_kernels as kernels

        image, pair = args.pair(name)[0], _pair(args, name)
        result = torch.empty(image.shape, dtype=image.dtype, device=image.device)
        tiles = -(-pair.voxels // TILE[accumulation_dtype(args.input)])
        with triton_path.on_device(image):
            kernels.gradient[(pair.volumes * tiles,)](
                *pair.tensors, levels, grad.contiguous(), result, tiles, pair.voxels, pair.shared,
                OWN=int(name == "target"), **pair.options,
            )  # fmt: skip
        return result


class Pair(NamedTuple):
    """What the kernels are launched with: an image and the other one, the mask, and their sizes."""

    tensors: tuple[Tensor, Tensor, Tensor]
    volumes: int
    voxels: int
    shared: int
    options: dict[str, Any]


def _pair(args: Arguments, own: str) -> Pair:
    from triton import language

    mask, dtype = args.mask, accumulation_dtype(args.input)
    batch, channels, *spatial = args.input.shape
    mine, other = map(readable, args.pair(own))
    weight, shared = shared_weight(mask, mine)
    real = language.float64 if dtype == torch.float64 else language.float32
    options = {"MASKED": mask is not None, "REAL": real, "TILE": TILE[dtype]}
    return Pair((mine, other, weight), batch * channels, math.prod(spatial), shared, options)
