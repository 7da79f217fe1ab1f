"""MONAI's Hausdorff losses by distance transforms."""

from __future__ import annotations

from collections.abc import Callable

import torch

from medloss import segmentation
from medloss.compat.monai.base import LabelDropIn, LossReduction
from medloss.compat.monai.boundary_loss import planes_or_volumes
from medloss.compat.peers import handing_on

__getattr__ = handing_on(__name__, "monai.losses.hausdorff_loss")


class HausdorffDTLoss(LabelDropIn):
    """``monai.losses.HausdorffDTLoss`` over :class:`medloss.HausdorffDTLoss`, of planes and volumes.

    ``"none"`` gives B N 1 ... 1 (with ``batch`` 1 N 1 ... 1).
    """

    def __init__(
        self,
        alpha: float = 2.0,
        include_background: bool = False,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable | None = None,
        reduction: LossReduction | str = "mean",
        batch: bool = False,
    ) -> None:
        super().__init__(reduction)
        self._labels(locals())

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        planes_or_volumes(input)
        seen = self._see(input, target)
        values = self._called(seen, segmentation.HausdorffDTLoss, alpha=self.alpha)
        return self._broadcastable(values.mean(0, keepdim=True) if self.batch else values, seen.rank)


class LogHausdorffDTLoss(HausdorffDTLoss):
    """``monai.losses.LogHausdorffDTLoss``: log(1 + L) of the reduced loss; natively it is of each value."""

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return torch.log1p(super().forward(input, target))
