"""MONAI's Matthews correlation loss."""

from __future__ import annotations

from collections.abc import Callable

import torch

from medloss import segmentation
from medloss.compat.monai.base import LabelDropIn, LossReduction, native
from medloss.compat.peers import handing_on

__getattr__ = handing_on(__name__, "monai.losses.mcc_loss")


class MCCLoss(LabelDropIn):
    """``monai.losses.MCCLoss`` over :class:`medloss.MCCLoss`; ``"none"`` gives B N, with ``batch`` N."""

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable | None = None,
        reduction: LossReduction | str = "mean",
        smooth_nr: float = 0.0,
        smooth_dr: float = 1e-5,
        batch: bool = False,
    ) -> None:
        super().__init__(reduction)
        self._labels(locals())

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        formula = native(segmentation.MCCLoss, smooth_nr=self.smooth_nr, smooth_dr=self.smooth_dr)
        return self._reduced(self._values(self._see(input, target), formula))
