"""kornia's structural similarity of volumes."""

from __future__ import annotations

import torch

from medloss.compat.kornia.base import ShapeError, alike, pair, ranked
from medloss.compat.kornia.similarity import SimilarityLoss, dissimilarity


def ssim3d_loss(
    img1: torch.Tensor,
    img2: torch.Tensor,
    window_size: int,
    max_val: float = 1.0,
    eps: float = 1e-12,
    reduction: str = "mean",
    padding: str = "same",
) -> torch.Tensor:
    """``kornia.losses.ssim3d_loss`` over the operator of :class:`medloss.SSIMLoss`: (1 - SSIM) / 2 of B C D H W.

    The window is a Gaussian of 1.5 voxels; ``"same"`` mirrors the images at their border.

    >>> x = torch.rand(1, 4, 5, 5, 5)
    >>> ssim3d_loss(x, x, 5, reduction="none").shape
    torch.Size([1, 4, 5, 5, 5])
    """
    x, y = pair(img1, img2)
    for name, tensor in (("img1", x), ("img2", y)):
        ranked(name, tensor, "BCDHW", ShapeError)
    alike("img2", y, "img1", x.shape)
    return dissimilarity(x, y, window_size, max_val, eps, reduction, padding)


class SSIM3DLoss(SimilarityLoss):
    """``kornia.losses.SSIM3DLoss``: :func:`ssim3d_loss`."""

    def forward(self, img1: torch.Tensor, img2: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return ssim3d_loss(img1, img2, self.window_size, self.max_val, self.eps, self.reduction, self.padding)
