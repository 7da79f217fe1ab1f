"""MONAI's loss at several scales."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.loss import _Loss

from medloss import checks, multiscale
from medloss.compat.monai.base import LossReduction, MonaiLoss
from medloss.compat.peers import handing_on

__getattr__ = handing_on(__name__, "monai.losses.multi_scale")


class MultiScaleLoss(MonaiLoss):
    """``monai.losses.MultiScaleLoss`` with the smoothing of :class:`medloss.MultiScaleLoss`.

    The target comes first in the call. Whatever the loss, it sees both tensors smoothed as they are given.

    >>> from medloss.compat import monai as losses
    >>> loss = losses.MultiScaleLoss(losses.LocalNormalizedCrossCorrelationLoss(2), scales=[0, 1], reduction="none")
    >>> loss(torch.rand(1, 1, 9, 9), torch.rand(1, 1, 9, 9)).shape
    torch.Size([2])
    """

    def __init__(
        self,
        loss: _Loss,
        scales: list | None = None,
        kernel: str = "gaussian",
        reduction: LossReduction | str = "mean",
    ) -> None:
        super().__init__(reduction)
        checks.choice("kernel", kernel, multiscale.KERNELS)
        self._keep(locals())

    def forward(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """The loss."""
        if self.scales is None:
            return self._reduced(self.loss(y_pred, y_true))
        kernel = multiscale.MultiScaleLoss(nn.Identity(), scales=self.scales, kernel=self.kernel, normalise=False)
        pairs = [[kernel.smoothed(image, scale) for image in (y_pred, y_true)] for scale in self.scales]
        return self._reduced(torch.stack([self.loss(*pair) for pair in pairs]))
