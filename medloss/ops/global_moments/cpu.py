"""The CPU path of ``global_moments``: one sweep of C over both images for the moments, one for a gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.dispatch import KeepingPath
from medloss.ops.global_moments.reference import Arguments
from medloss.ops.label_tile import TYPES
from medloss.ops.masking import accumulation_dtype

LEVELS = 5
"""Numbers of a volume that a gradient needs: both means, and the rates of both variances and of the covariance."""


class NativeGlobalMoments(KeepingPath[Arguments], native.NativePath[Arguments]):
    """Images are read as they are, in half precision too. Kept for the gradient are five numbers of each volume."""

    differentiable = ("input", "target")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return args.misfits()

    def forward_keeping(self, args: Arguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        """B C 4, and the levels."""
        input, dtype = args.input, accumulation_dtype(args.input)
        result = torch.empty((*input.shape[:2], 4), dtype=torch.float64, device="cpu")
        levels = torch.empty((*input.shape[:2], LEVELS), dtype=torch.float64, device="cpu")
        native.call("global_moments_forward", dtype, *_operands(args, "input"), result, levels)
        return result.to(dtype), (levels,)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in its dtype."""
        return self._gradient("input", grad, args, *kept)

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of either image, in its dtype."""
        return self._gradient(name, grad, args, *self.forward_keeping(args)[1])

    def _gradient(self, name: str, grad: Tensor, args: Arguments, levels: Tensor) -> Tensor:
        image, dtype = args.pair(name)[0], accumulation_dtype(args.input)
        result = torch.empty(image.shape, dtype=_read_as(image, dtype), device="cpu")
        grad = grad.to(torch.float64).contiguous()
        of_target = int(name == "target")
        native.call("global_moments_backward", dtype, *_operands(args, name), levels, grad, of_target, result)
        return result.to(image.dtype)


def _operands(args: Arguments, own: str) -> tuple[Any, ...]:
    """The image ``own`` and the other one with their types, the mask and how many volumes share it, and the sizes."""
    dtype, (batch, channels, *spatial) = accumulation_dtype(args.input), args.input.shape
    images = [image.detach().to(_read_as(image, dtype)).contiguous() for image in args.pair(own)]
    mask, shared = native.shared_weight(args.mask, args.input, dtype)
    typed = [value for image in images for value in (image, TYPES[image.dtype])]
    return (*typed, mask, shared, batch * channels, math.prod(spatial))


def _read_as(image: Tensor, dtype: torch.dtype) -> torch.dtype:
    """As what the kernel reads an image: as it is where it is in half precision, else as what is computed in."""
    return image.dtype if TYPES[image.dtype] else dtype
