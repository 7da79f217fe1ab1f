"""kornia's focal losses, of classes that exclude each other and of such that do not."""
# ruff: noqa: UP045 - annotations are part of the signature, which is the peer's to the letter

from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor

from medloss.compat.kornia.base import (
    ShapeError,
    WeightedLoss,
    alike,
    check,
    elements,
    indices,
    per_class,
    plain,
    reduced,
    result_dtype,
    together,
)
from medloss.ops import Terms, pointwise, region_sums
from medloss.ops.masking import holds
from medloss.sums import RegionSums


def focal_loss(
    pred: torch.Tensor,
    target: torch.Tensor,
    alpha: Optional[float],
    gamma: float = 2.0,
    reduction: str = "none",
    weight: Optional[torch.Tensor] = None,
    ignore_index: Optional[int] = -100,
) -> torch.Tensor:
    """``kornia.losses.focal_loss`` over the sums and maps of :class:`medloss.FocalLoss` with ``softmax``.

    Logits B C [spatial], labels B [spatial]; ``"none"`` gives B C [spatial]. Class 0 weighs 1 - alpha, the others
    alpha. The mean divides by all elements, the ignored ones too.
    """
    pred, target = _fitting(pred, target, lambda shape: (shape[0], *shape[2:]))
    factors = per_class("weight", weight, pred)
    target = indices(target, pred.shape[1], ignore_index)
    if alpha is not None:
        background = torch.arange(pred.shape[1], device=pred.device) == 0
        factors = factors * torch.where(background, 1 - alpha, alpha * torch.ones_like(factors))
    options = {"indexed": True, "ignore_index": ignore_index, "gamma": float(gamma)}
    return _reduced(pred, target, None, "softmax", (factors, None), reduction, options, result_dtype(pred, weight))


class FocalLoss(WeightedLoss):
    """``kornia.losses.FocalLoss``: :func:`focal_loss`."""

    def __init__(
        self,
        alpha: Optional[float],
        gamma: float = 2.0,
        reduction: str = "none",
        weight: Optional[torch.Tensor] = None,
        ignore_index: Optional[int] = -100,
    ) -> None:
        super().__init__()
        self.alpha: Optional[float] = alpha
        self.gamma: float = gamma
        self.reduction: str = reduction
        self._keep("weight", weight)
        self.ignore_index: Optional[int] = ignore_index

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return focal_loss(pred, target, self.alpha, self.gamma, self.reduction, self.weight, self.ignore_index)


def binary_focal_loss_with_logits(
    pred: torch.Tensor,
    target: torch.Tensor,
    alpha: Optional[float] = 0.25,
    gamma: float = 2.0,
    reduction: str = "none",
    pos_weight: Optional[torch.Tensor] = None,
    weight: Optional[torch.Tensor] = None,
    ignore_index: Optional[int] = -100,
) -> torch.Tensor:
    """``kornia.losses.binary_focal_loss_with_logits`` over the sums and maps of :class:`medloss.FocalLoss`.

    Logits and memberships B C [spatial]; ``"none"`` gives that shape. A voxel that belongs to a class in part has its
    part of the loss of either side. The mean divides by all elements, the ignored ones too.
    """
    pred, target = _fitting(pred, target, lambda shape: shape)
    positive, factors = (per_class(name, w, pred) for name, w in (("pos_weight", pos_weight), ("weight", weight)))
    positive, negative = (factors * positive, factors) if pos_weight is not None else (factors, factors)
    if alpha is not None:
        positive, negative = alpha * positive, (1 - alpha) * negative
    mask = None if ignore_index is None else ~holds(target, ignore_index)
    options: dict[str, Any] = {"gamma": float(gamma)}
    dtype = result_dtype(pred, pos_weight, weight)
    if not target.is_floating_point():
        return _reduced(pred, target, mask, "sigmoid", (positive, negative), reduction, options, dtype)
    t = target if mask is None else torch.where(mask, target, 0)
    sides = [
        pointwise(pred, side, mask, penalty="sigmoid", positive=positive, negative=negative, **options)
        for side in (torch.ones_like(pred), torch.zeros_like(pred))
    ]
    values = t.to(sides[0]) * sides[0] + (1 - t.to(sides[1])) * sides[1]
    return reduced(values, reduction, torch.promote_types(dtype, target.dtype))


class BinaryFocalLossWithLogits(WeightedLoss):
    """``kornia.losses.BinaryFocalLossWithLogits``: :func:`binary_focal_loss_with_logits`."""

    def __init__(
        self,
        alpha: Optional[float],
        gamma: float = 2.0,
        reduction: str = "none",
        pos_weight: Optional[torch.Tensor] = None,
        weight: Optional[torch.Tensor] = None,
        ignore_index: Optional[int] = -100,
    ) -> None:
        super().__init__()
        self.alpha: Optional[float] = alpha
        self.gamma: float = gamma
        self.reduction: str = reduction
        self._keep("pos_weight", pos_weight)
        self._keep("weight", weight)
        self.ignore_index: Optional[int] = ignore_index

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        options = (self.alpha, self.gamma, self.reduction, self.pos_weight, self.weight, self.ignore_index)
        return binary_focal_loss_with_logits(pred, target, *options)


def _fitting(pred: Any, target: Any, expected: Any) -> tuple[Tensor, Tensor]:
    pred, target = plain("pred", pred), plain("target", target)
    check(pred.ndim >= 2, f"pred has shape {list(pred.shape)}: expected B C [spatial]", ShapeError)
    check(pred.is_floating_point(), f"pred is {pred.dtype} and must hold logits of a floating type", TypeError)
    alike("target", target, "pred", expected(pred.shape))
    together("target", target, pred)
    return pred, target


def _reduced(
    pred: Tensor,
    target: Tensor,
    mask: Tensor | None,
    activation: str,
    factors: tuple[Tensor, Tensor | None],
    reduction: str,
    options: dict[str, Any],
    dtype: torch.dtype,
) -> Tensor:
    """The map, or what one sweep sums up of it."""
    positive, negative = factors
    if reduction not in ("mean", "sum"):
        values = pointwise(pred, target, mask, penalty=activation, positive=positive, negative=negative, **options)
        return reduced(values, reduction, dtype)
    if pred.ndim == 2:  # no axis would be all axes
        pred, target = pred.unsqueeze(-1), target.unsqueeze(-1)
        mask = None if mask is None else mask.unsqueeze(-1)
    sums = RegionSums(region_sums(pred, target, mask, activation=activation, terms=Terms.FOCAL, **options))
    total = (positive * sums.focal_true).sum()
    if negative is not None:
        total = total + (negative * sums.focal_false).sum()
    return (total / elements(pred) if reduction == "mean" else total).to(dtype)
