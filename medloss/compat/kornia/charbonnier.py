"""kornia's smooth absolute difference."""

from __future__ import annotations

import torch
from torch import nn

from medloss.compat.kornia.residual import robust


def charbonnier_loss(img1: torch.Tensor, img2: torch.Tensor, reduction: str = "none") -> torch.Tensor:
    """``kornia.losses.charbonnier_loss``: sqrt(r^2 + 1) - 1, the penalty of :class:`medloss.CharbonnierLoss`.

    The residual is of tensors of any one shape, which ``"none"`` keeps.

    >>> charbonnier_loss(torch.tensor([2.0, 0.0]), torch.zeros(2))
    tensor([1.2361, 0.0000])
    """
    return robust("charbonnier", img1, img2, reduction)


class CharbonnierLoss(nn.Module):
    """``kornia.losses.CharbonnierLoss``: :func:`charbonnier_loss`."""

    def __init__(self, reduction: str = "none") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, img1: torch.Tensor, img2: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return charbonnier_loss(img1=img1, img2=img2, reduction=self.reduction)
