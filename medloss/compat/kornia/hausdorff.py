"""kornia's Hausdorff distances by erosion."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from medloss.compat.kornia.base import alike, check, plain, ranked, reduced
from medloss.ops import erosion_hausdorff
from medloss.ops.masking import accumulation_dtype, membership


class _HausdorffERLossBase(nn.Module):
    """Erosions of the error of every class; ``"none"`` gives C B 1 [spatial]."""

    rank: int

    def __init__(self, alpha: float = 2.0, k: int = 10, reduction: str = "mean") -> None:
        super().__init__()
        self.alpha = alpha
        self.k = k
        self.reduction = reduction
        self.register_buffer("kernel", self.get_kernel())  # for checkpoints: the operator knows its own

    def get_kernel(self) -> torch.Tensor:
        """The mean of a voxel and its neighbours along the axes."""
        near = [sum(abs(i - 1) for i in place) <= 1 for place in itertools.product(range(3), repeat=self.rank)]
        weights = torch.tensor(near).view(1, 1, *[3] * self.rank) / (2 * self.rank + 1)
        return weights

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        pred, target = plain("pred", pred, TypeError), plain("target", target, TypeError)
        ranked("pred", pred, "BCDHW" if self.rank == 3 else "BCHW", ValueError)
        alike("target", target, "pred", (pred.shape[0], 1, *pred.shape[2:]), ValueError)
        classes = pred.shape[1]
        check(target.dtype == torch.long, f"target is {target.dtype} and must be torch.long", ValueError)
        if not (torch.compiler.is_compiling() or target.is_meta):
            within = bool((target >= 0).all()) and bool((target < classes).all())
            check(within, f"target holds labels outside the {classes} classes", ValueError)
        members = membership(target, classes, True, accumulation_dtype(pred))
        eroded = erosion_hausdorff(pred, members, alpha=self.alpha, k=self.k)
        return reduced(eroded.movedim(1, 0).unsqueeze(2), self.reduction, pred.dtype)


class HausdorffERLoss(_HausdorffERLossBase):
    """``kornia.losses.HausdorffERLoss`` over the operator of :class:`medloss.HausdorffERLoss`, of planes.

    >>> HausdorffERLoss(reduction="none")(torch.rand(5, 3, 8, 8), torch.zeros(5, 1, 8, 8).long()).shape
    torch.Size([3, 5, 1, 8, 8])
    """

    rank = 2


class HausdorffERLoss3D(_HausdorffERLossBase):
    """``kornia.losses.HausdorffERLoss3D`` over the operator of :class:`medloss.HausdorffERLoss`, of volumes."""

    rank = 3
