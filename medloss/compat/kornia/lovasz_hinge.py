"""kornia's Lovasz hinge."""

from __future__ import annotations

from torch import Tensor, nn

from medloss import segmentation
from medloss.compat.kornia.base import ShapeError, alike, check, floating_dtype, plain, ranked, together

LOSS = segmentation.LovaszHingeLoss()


def lovasz_hinge_loss(pred: Tensor, target: Tensor) -> Tensor:
    """``kornia.losses.lovasz_hinge_loss`` over :class:`medloss.LovaszHingeLoss`: of logits B 1 H W and labels B H W.

    One loss for each image, averaged over the batch.

    >>> import torch
    >>> pred = torch.tensor([[[[2.0, -0.5]]]])
    >>> lovasz_hinge_loss(pred, torch.tensor([[[1, 1]]]))
    tensor(0.7500)
    """
    pred, target = plain("pred", pred), plain("target", target)
    ranked("pred", pred, "B1HW")
    check(pred.shape[1] == 1, f"pred has {pred.shape[1]} channels: expected 1", ShapeError)
    ranked("target", target, "BHW")
    alike("target", target, "pred", (pred.shape[0], *pred.shape[2:]), ValueError)
    together("target", target, pred, ValueError)
    dtype = floating_dtype(pred)
    return LOSS(pred.to(dtype), target.unsqueeze(1)).to(dtype)


class LovaszHingeLoss(nn.Module):
    """``kornia.losses.LovaszHingeLoss``: :func:`lovasz_hinge_loss`."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        return lovasz_hinge_loss(pred=pred, target=target)
