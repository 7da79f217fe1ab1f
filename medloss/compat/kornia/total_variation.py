"""kornia's total variation."""

from __future__ import annotations

import math

import torch
from torch import nn

from medloss import image as images
from medloss.compat.kornia.base import ShapeError, check, plain

LOSSES = {name: images.TotalVariationLoss(average=name == "mean", reduction="none") for name in ("sum", "mean")}


def total_variation(img: torch.Tensor, reduction: str = "sum") -> torch.Tensor:
    """``kornia.losses.total_variation`` over :class:`medloss.TotalVariationLoss`: of each plane of * H W, giving *.

    The sum of planes of integers is an integer.

    >>> total_variation(torch.ones(2, 5, 3, 4, 4)).shape
    torch.Size([2, 5, 3])
    """
    img = plain("img", img, TypeError)
    check(not img.is_complex(), "img is complex and must be real", TypeError)
    check(img.ndim >= 2, f"img has shape {list(img.shape)}: expected * H W", ShapeError)
    check(reduction in ("mean", "sum"), f"reduction={reduction!r} is unknown: choose 'mean' or 'sum'")
    counts = not img.is_floating_point()
    planes = img.reshape(1, math.prod(img.shape[:-2]), *img.shape[-2:])
    values = LOSSES[reduction](planes.double() if counts else planes).view(img.shape[:-2])
    if not counts:
        return values.to(img.dtype)
    return values.round().long() if reduction == "sum" else values.float()


class TotalVariation(nn.Module):
    """``kornia.losses.TotalVariation``: the sum of :func:`total_variation`."""

    def forward(self, img: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return total_variation(img)
