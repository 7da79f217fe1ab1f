"""Reasons why kernels cannot take some tensors, which the paths of many operators share."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from medloss.ops.masking import fits

REALS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
"""What kernels read images and logits in."""


def dtype_misfits(taken: Collection[torch.dtype], **tensors: Tensor) -> list[str]:
    """The tensors, by their names, whose dtype is none of those."""
    others = [name for name, tensor in tensors.items() if tensor.dtype not in taken]
    if not others:
        return others
    kinds = ", ".join(str(dtype).removeprefix("torch.") for dtype in taken)
    return [f"{name} is {tensors[name].dtype}, the kernel takes {kinds}" for name in others]


def axes_misfits(volume: Tensor) -> list[str]:
    """Whether a tensor has 1 to 3 spatial axes."""
    axes = volume.ndim - 2
    return [] if 1 <= axes <= 3 else [f"there are {axes} spatial axes, the kernel takes 1 to 3"]


def mask_misfits(mask: Tensor | None, image: Tensor) -> list[str]:
    """Whether a mask, where there is one, is of an image's voxels."""
    return [] if mask is None or fits(mask, image) else ["the mask does not fit the input"]
