"""kornia's peak signal-to-noise ratio."""

from __future__ import annotations

import math

import torch
from torch import nn

from medloss import image as images
from medloss.compat.kornia.base import alike, pair

DECIBELS = images.PSNRLoss(eps=0.0)
"""Of images in a range of 1."""


def psnr_loss(image: torch.Tensor, target: torch.Tensor, max_val: float) -> torch.Tensor:
    """``kornia.losses.psnr_loss`` over :class:`medloss.PSNRLoss`: one ratio of tensors of any shape.

    It is minus infinity where they are equal, with a gradient of 0.

    >>> psnr_loss(torch.ones(1), 1.2 * torch.ones(1), 2.0)
    tensor(-20.0000)
    """
    x, y = pair(image, target, ("image", "target"), TypeError)
    alike("target", y, "image", x.shape, TypeError)
    x, y = x.reshape(1, 1, -1), y.reshape(1, 1, -1)
    equal = (x == y).all()  # has no slope: another image stands in
    value = DECIBELS(torch.where(equal, x.detach() + 1, x), y) - 20 * math.log10(abs(max_val))
    return torch.where(equal, -math.inf, value).to(x.dtype)


class PSNRLoss(nn.Module):
    """``kornia.losses.PSNRLoss``: :func:`psnr_loss`."""

    def __init__(self, max_val: float) -> None:
        super().__init__()
        self.max_val: float = max_val

    def forward(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return psnr_loss(image, target, self.max_val)
