"""kornia's upside-down Gaussian."""

from __future__ import annotations

import torch
from torch import nn

from medloss.compat.kornia.residual import robust


def welsch_loss(img1: torch.Tensor, img2: torch.Tensor, reduction: str = "none") -> torch.Tensor:
    """``kornia.losses.welsch_loss``: 1 - exp(-r^2 / 2), the penalty of :class:`medloss.WelschLoss`.

    The residual is of tensors of any one shape, which ``"none"`` keeps.

    >>> welsch_loss(torch.tensor([2.0, 0.0]), torch.zeros(2))
    tensor([0.8647, 0.0000])
    """
    return robust("welsch", img1, img2, reduction, others=())


class WelschLoss(nn.Module):
    """``kornia.losses.WelschLoss``: :func:`welsch_loss`."""

    def __init__(self, reduction: str = "none") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, img1: torch.Tensor, img2: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return welsch_loss(img1=img1, img2=img2, reduction=self.reduction)
