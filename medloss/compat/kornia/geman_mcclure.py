"""kornia's rational penalty."""

from __future__ import annotations

import torch
from torch import nn

from medloss.compat.kornia.residual import robust


def geman_mcclure_loss(img1: torch.Tensor, img2: torch.Tensor, reduction: str = "none") -> torch.Tensor:
    """``kornia.losses.geman_mcclure_loss``: 2 r^2 / (r^2 + 4), the penalty of :class:`medloss.GemanMcClureLoss`.

    The residual is of tensors of any one shape, which ``"none"`` keeps.

    >>> geman_mcclure_loss(torch.tensor([2.0, 0.0]), torch.zeros(2))
    tensor([1., 0.])
    """
    return robust("geman_mcclure", img1, img2, reduction)


class GemanMcclureLoss(nn.Module):
    """``kornia.losses.GemanMcclureLoss``: :func:`geman_mcclure_loss`."""

    def __init__(self, reduction: str = "none") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, img1: torch.Tensor, img2: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return geman_mcclure_loss(img1=img1, img2=img2, reduction=self.reduction)
