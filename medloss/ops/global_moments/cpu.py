"""The CPU path of ``global_moments``: one sweep of C over both images for the moments, one for a gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.dispatch import KeepingPath
from medloss.ops.label_tile import TYPES
from medloss.ops.masking import accumulation_dtype, fits

LEVELS = 5
"""Numbers of a volume that a gradient needs: both means, and the rates of both variances and of the covariance."""


def misfits(args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
    """Why no kernel can take these arguments; empty where one can."""
    input, target, mask = args
    found = [
        f"{told} is {image.dtype}, the kernel takes {', '.join(str(dtype)[6:] for dtype in TYPES)}"
        for told, image in (("input", input), ("target", target))
        if image.dtype not in TYPES
    ]
    if target.shape != input.shape or input.numel() == 0:
        found.append("target is not of the input's shape, or there is no voxel")
    if mask is not None and not fits(mask, input):
        found.append("the mask does not fit the images")
    if needs is not None and any(needs[2:]):
        found.append("a gradient of the mask is asked for")
    return found


class NativeGlobalMoments(KeepingPath, native.NativePath):
    """Images are read as they are, in half precision too. Kept for the gradient are five numbers of each volume."""

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return misfits(args, needs)

    def forward_keeping(self, args: tuple[Any, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """B C 4, and the levels."""
        input, dtype = args[0], accumulation_dtype(args[0])
        result = torch.empty((*input.shape[:2], 4), dtype=torch.float64, device="cpu")
        levels = torch.empty((*input.shape[:2], LEVELS), dtype=torch.float64, device="cpu")
        native.call("global_moments_forward", dtype, *_operands(args, 0), result, levels)
        return result.to(dtype), (levels,)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in its dtype."""
        return self._gradient(0, grad, args, *kept)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of either image, in its dtype."""
        return self._gradient(index, grad, args, *self.forward_keeping(args)[1])

    def _gradient(self, index: int, grad: Tensor, args: tuple[Any, ...], levels: Tensor) -> Tensor:
        assert index < 2, "only the images have a gradient"
        image, dtype = args[index], accumulation_dtype(args[0])
        result = torch.empty(image.shape, dtype=_read_as(image, dtype), device="cpu")
        grad = grad.to(torch.float64).contiguous()
        native.call("global_moments_backward", dtype, *_operands(args, index), levels, grad, index, result)
        return result.to(image.dtype)


def _operands(args: tuple[Any, ...], own: int) -> tuple[Any, ...]:
    """The image ``own`` and the other one with their types, the mask and how many volumes share it, and the sizes."""
    input, _, mask = args
    dtype, (batch, channels, *spatial) = accumulation_dtype(input), input.shape
    images = [args[index].detach().to(_read_as(args[index], dtype)).contiguous() for index in (own, 1 - own)]
    mask, shared = native.shared_weight(mask, batch, channels, dtype)
    typed = [value for image in images for value in (image, TYPES[image.dtype])]
    return (*typed, mask, shared, batch * channels, math.prod(spatial))


def _read_as(image: Tensor, dtype: torch.dtype) -> torch.dtype:
    """As what the kernel reads an image: as it is where it is in half precision, else as what is computed in."""
    return image.dtype if TYPES[image.dtype] else dtype
