"""kornia's logarithmic penalty."""

from __future__ import annotations

import torch
from torch import nn

from medloss.compat.kornia.residual import robust


def cauchy_loss(img1: torch.Tensor, img2: torch.Tensor, reduction: str = "none") -> torch.Tensor:
    """``kornia.losses.cauchy_loss``: log(1 + r^2 / 2), the penalty of :class:`medloss.CauchyLoss`.

    The residual is of tensors of any one shape, which ``"none"`` keeps.

    >>> cauchy_loss(torch.tensor([2.0, 0.0]), torch.zeros(2))
    tensor([1.0986, 0.0000])
    """
    return robust("cauchy", img1, img2, reduction)


class CauchyLoss(nn.Module):
    """``kornia.losses.CauchyLoss``: :func:`cauchy_loss`."""

    def __init__(self, reduction: str = "none") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, img1: torch.Tensor, img2: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return cauchy_loss(img1=img1, img2=img2, reduction=self.reduction)
