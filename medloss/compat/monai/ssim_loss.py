"""MONAI's structural similarity."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medloss import checks, image
from medloss.compat.monai.base import KernelType, LossReduction, MisfitError, MonaiLoss, floating
from medloss.compat.peers import handing_on

__getattr__ = handing_on(__name__, "monai.losses.ssim_loss")


class SSIMLoss(MonaiLoss):
    """``monai.losses.SSIMLoss`` over :class:`medloss.SSIMLoss`; ``"none"`` gives B 1."""

    def __init__(
        self,
        spatial_dims: int,
        data_range: float = 1.0,
        kernel_type: KernelType | str = "gaussian",
        win_size: int | Sequence[int] = 11,
        kernel_sigma: float | Sequence[float] = 1.5,
        k1: float = 0.01,
        k2: float = 0.03,
        reduction: LossReduction | str = "mean",
    ):
        super().__init__(reduction)
        self._keep(locals())
        self.kernel_size = self.win_size

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        input, target = floating(input), floating(target, "target")
        if input.ndim != self.spatial_dims + 2:
            raise checks.ShapeError(f"input has shape {checks.shape(input)}: expected {self.spatial_dims} spatial axes")
        loss = image.SSIMLoss(
            window=str(getattr(self.kernel_type, "value", self.kernel_type)),
            window_size=self.kernel_size,
            sigma=self.kernel_sigma,
            data_range=self.data_range,
            k1=self.k1,
            k2=self.k2,
            border="valid",
            convention="one_minus",
            reduction="none",
        )
        checks.same_shape("target", target, input)
        try:
            values = loss(input, target)
        except checks.ShapeError as fault:  # the window is larger than the image
            raise MisfitError(str(fault)) from None
        return self._reduced(values.flatten(1).mean(1, keepdim=True))
