"""MONAI's Tversky loss."""

from __future__ import annotations

from collections.abc import Callable

import torch

from medloss import segmentation
from medloss.compat.monai.base import LabelDropIn, LossReduction, native
from medloss.compat.peers import handing_on

__getattr__ = handing_on(__name__, "monai.losses.tversky")


class TverskyLoss(LabelDropIn):
    """``monai.losses.TverskyLoss`` over :class:`medloss.TverskyLoss`; ``"none"`` gives B N, with ``batch`` N."""

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable | None = None,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: LossReduction | str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        soft_label: bool = False,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(reduction)
        self._labels(locals())

    @property
    def formula(self) -> segmentation.TverskyLoss:
        """The native loss."""
        return native(
            segmentation.TverskyLoss,
            alpha=self.alpha,
            beta=self.beta,
            soft_label=self.soft_label,
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
        )

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return self._reduced(self._values(self._see(input, target), self.formula))
