"""kornia's Dice."""
# ruff: noqa: UP045 - annotations are part of the signature, which is the peer's to the letter

from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor

from medloss.compat.kornia.base import (
    WeightedLoss,
    alike,
    check,
    indices,
    per_class,
    plain,
    ranked,
    result_dtype,
    together,
)
from medloss.ops import region_sums
from medloss.reduction import ratio
from medloss.segmentation.tversky import tversky_index
from medloss.sums import RegionSums


def dice_loss(
    pred: torch.Tensor,
    target: torch.Tensor,
    average: str = "micro",
    eps: float = 1e-8,
    weight: Optional[torch.Tensor] = None,
    ignore_index: Optional[int] = -100,
) -> torch.Tensor:
    """``kornia.losses.dice_loss`` over the sums of :class:`medloss.DiceLoss`: a scalar from logits B C H W.

    ``"micro"`` adds up the (weighted) sums of the classes first, ``"macro"`` is the (weighted) mean over the classes
    that the sample has. A sample of ignored voxels alone costs 1.
    """
    pred, target = plane(pred, target)
    check(average in ("micro", "macro"), f"average={average!r} is unknown: choose 'micro' or 'macro'")
    factors = per_class("weight", weight, pred)
    columns = region_sums_of(pred, target, ignore_index).columns
    factors = factors.to(columns.dtype)
    if average == "micro":
        columns = (columns * factors.view(-1, 1)).sum(1, keepdim=True)
    sums = RegionSums(columns)
    overlap, smooth = sums.overlap, max(eps / 2, torch.finfo(columns.dtype).tiny)  # no voxel at all is no overlap
    values = 1 - tversky_index(overlap, sums.input - overlap, sums.target - overlap, 0.5, 0.5, 0.0, smooth)
    if average == "macro":
        counted = factors * (sums.target > 0)
        mass = counted.sum(1)
        values = torch.where(mass == 0, 1, ratio((values * counted).sum(1), mass))
    return values.mean().to(result_dtype(pred, weight))


class DiceLoss(WeightedLoss):
    """``kornia.losses.DiceLoss``: :func:`dice_loss`."""

    def __init__(
        self,
        average: str = "micro",
        eps: float = 1e-8,
        weight: Optional[torch.Tensor] = None,
        ignore_index: Optional[int] = -100,
    ) -> None:
        super().__init__()
        self.average = average
        self.eps = eps
        self._keep("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return dice_loss(pred, target, self.average, self.eps, self.weight, self.ignore_index)


def plane(pred: Any, target: Any, fault: type[Exception] | None = None) -> tuple[Tensor, Tensor]:
    """Logits B C H W and labels B H W that fit."""
    pred = plain("pred", pred) if fault is None else plain("pred", pred, fault)
    target = plain("target", target)
    ranked("pred", pred, "BCHW", ValueError)
    alike("target", target, "pred", (pred.shape[0], *pred.shape[2:]), ValueError)
    together("target", target, pred, ValueError)
    return pred, target


def region_sums_of(pred: Tensor, target: Tensor, ignore_index: int | None) -> RegionSums:
    """The sums of each sample and class."""
    target = indices(target, pred.shape[1], ignore_index)
    return RegionSums(region_sums(pred, target, activation="softmax", indexed=True, ignore_index=ignore_index))
