"""kornia's divergences of heat maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss import image as images
from medloss.compat.kornia.base import alike, pair, ranked, reduced

JENSEN_SHANNON = images.HeatmapJSDivLoss(eps=0.0, reduction="none")
KULLBACK_LEIBLER = images.HeatmapKLDivLoss(eps=0.0, reduction="none")


def js_div_loss_2d(pred: torch.Tensor, target: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """``kornia.losses.js_div_loss_2d`` over :class:`medloss.HeatmapJSDivLoss`: of maps B N H W; ``"none"`` gives B N.

    >>> pred = torch.full((1, 1, 2, 4), 0.125)
    >>> js_div_loss_2d(pred, pred).item()
    0.0
    """
    return _divergence(JENSEN_SHANNON, pred, target, reduction)


def kl_div_loss_2d(pred: torch.Tensor, target: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """``kornia.losses.kl_div_loss_2d`` over :class:`medloss.HeatmapKLDivLoss`: of the target from the prediction.

    Maps are B N H W; ``"none"`` gives B N. Infinite where the prediction is 0 and the target is not.

    >>> pred = torch.full((1, 1, 2, 4), 0.125)
    >>> kl_div_loss_2d(pred, pred).item()
    0.0
    """
    return _divergence(KULLBACK_LEIBLER, pred, target, reduction, blind=True)


def _divergence(loss: Any, pred: Any, target: Any, reduction: str, blind: bool = False) -> Tensor:
    """The divergence of each map; one that is ``blind`` where the target is 0 is NaN by a prediction that is none."""
    p, t = pair(pred, target, ("pred", "target"))
    ranked("pred", p, "BNHW")
    alike("target", t, "pred", p.shape)
    values = loss(p, t)
    if blind:
        values = torch.where(((p >= 0) & p.isfinite()).flatten(2).all(-1), values, torch.nan)
    return reduced(values, reduction, p.dtype)
