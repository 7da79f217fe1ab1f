"""kornia's Lovasz softmax."""
# ruff: noqa: UP045 - annotations are part of the signature, which is the peer's to the letter

from __future__ import annotations

from typing import Optional

from torch import Tensor

from medloss import segmentation
from medloss.compat.kornia.base import (
    ShapeError,
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
from medloss.labels import view_labels
from medloss.ops import jaccard_extension

LOSS = segmentation.LovaszSoftmaxLoss(to_onehot_y=True, classes="all")


def lovasz_softmax_loss(pred: Tensor, target: Tensor, weight: Optional[Tensor] = None) -> Tensor:
    """``kornia.losses.lovasz_softmax_loss``: as :class:`medloss.LovaszSoftmaxLoss` with ``classes="all"``.

    Of logits B C H W and labels B H W, a scalar: the mean over images and all classes of each one's value times its
    weight. A batch of one image stands beside every target.

    >>> import torch
    >>> p = torch.tensor([[[[0.5, 0.75]], [[0.5, 0.25]]]])
    >>> lovasz_softmax_loss(p.log(), torch.tensor([[[0, 0]]]))  # (1/2 + 1/4) / 2 and 1/2
    tensor(0.4375)
    """
    pred, target = plain("pred", pred), plain("target", target)
    ranked("pred", pred, "BCHW")
    ranked("target", target, "BHW")
    check(pred.shape[1] > 1, f"pred has shape {list(pred.shape)}: expected two classes or more", ShapeError)
    if pred.shape[0] == 1:
        pred = pred.expand(target.shape[0], *pred.shape[1:])
    alike("target", target, "pred", (pred.shape[0], *pred.shape[2:]), ValueError)
    together("target", target, pred, ValueError)
    factors = per_class("weight", weight, pred)
    view = view_labels(pred, indices(target, pred.shape[1], strict=False), **LOSS.sweep)
    values = jaccard_extension(view.input, view.target, errors="softmax", indexed=True)[..., 0]
    return (values.mean(0) * factors).mean().to(result_dtype(pred, weight))


class LovaszSoftmaxLoss(WeightedLoss):
    """``kornia.losses.LovaszSoftmaxLoss``: :func:`lovasz_softmax_loss`."""

    def __init__(self, weight: Optional[Tensor] = None) -> None:
        super().__init__()
        self._keep("weight", weight)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        return lovasz_softmax_loss(pred=pred, target=target, weight=self.weight)
