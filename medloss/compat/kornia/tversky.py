"""kornia's Tversky."""
# ruff: noqa: UP045 - annotations are part of the signature, which is the peer's to the letter

from __future__ import annotations

from typing import Optional

import torch
from torch import nn

from medloss.compat.kornia.dice import plane, region_sums_of
from medloss.reduction import ratio
from medloss.segmentation.tversky import tversky_index


def tversky_loss(
    pred: torch.Tensor,
    target: torch.Tensor,
    alpha: float,
    beta: float,
    eps: float = 1e-8,
    ignore_index: Optional[int] = -100,
) -> torch.Tensor:
    """``kornia.losses.tversky_loss`` over :class:`medloss.TverskyLoss`: of logits B C H W and labels B H W, a scalar.

    The mean over the classes that the sample has; a sample of ignored voxels alone costs 1.
    """
    pred, target = plane(pred, target, TypeError)
    sums = region_sums_of(pred, target, ignore_index)
    overlap, present = sums.overlap, sums.target > 0
    # a class that the sample lacks has no index, and without a smoothing no quotient either
    smooth = torch.where(present, eps, 1.0).to(overlap.dtype)
    index = tversky_index(overlap, sums.input - overlap, sums.target - overlap, alpha, beta, 0.0, smooth)
    index = ratio(torch.where(present, index, 0).sum(1), present.sum(1).to(index.dtype))
    return (1 - index.mean()).to(pred.dtype)


class TverskyLoss(nn.Module):
    """``kornia.losses.TverskyLoss``: :func:`tversky_loss`."""

    def __init__(self, alpha: float, beta: float, eps: float = 1e-8, ignore_index: Optional[int] = -100) -> None:
        super().__init__()
        self.alpha: float = alpha
        self.beta: float = beta
        self.eps: float = eps
        self.ignore_index: Optional[int] = ignore_index

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return tversky_loss(pred, target, self.alpha, self.beta, self.eps, self.ignore_index)
