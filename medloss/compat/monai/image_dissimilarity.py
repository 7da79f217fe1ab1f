"""MONAI's similarities of images."""

from __future__ import annotations

import torch

from medloss import checks, registration
from medloss.compat.monai.base import LossReduction, MonaiLoss, floating
from medloss.compat.peers import earlier_names, earlier_order, handing_on
from medloss.ops import local_moments
from medloss.registration.windows import KINDS, window

__getattr__ = handing_on(__name__, "monai.losses.image_dissimilarity")


class LocalNormalizedCrossCorrelationLoss(MonaiLoss):
    """``monai.losses.LocalNormalizedCrossCorrelationLoss`` over the moments that the native loss is made of.

    The triangle is MONAI's: of unit sum, and of k - 2 voxels where k + 1 is a multiple of four. ``ndim`` is an earlier
    name of ``spatial_dims``.

    >>> from medloss.compat import monai as losses
    >>> x = torch.rand(1, 1, 9, 9)
    >>> losses.LocalNormalizedCrossCorrelationLoss(ndim=2, reduction="none")(x, x).shape
    torch.Size([1, 1, 9, 9])
    """

    @earlier_names({"ndim": "spatial_dims"})
    def __init__(
        self,
        spatial_dims: int = 3,
        kernel_size: int = 3,
        kernel_type: str = "rectangular",
        reduction: LossReduction | str = "mean",
        smooth_nr: float = 0.0,
        smooth_dr: float = 1e-5,
    ) -> None:
        super().__init__(reduction)
        checks.choice("spatial_dims", spatial_dims, (1, 2, 3))
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={kernel_size!r} must be an odd number of voxels")
        checks.choice("kernel_type", kernel_type, KINDS)
        self._keep(locals())
        self.ndim = spatial_dims

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        pred, target = floating(pred, "pred"), floating(target, "target")
        if pred.ndim - 2 != self.ndim:
            raise checks.ShapeError(f"pred has shape {checks.shape(pred)}: expected {self.ndim} spatial axes")
        checks.same_shape("target", target, pred)
        correlation = local_moments(
            pred,
            target,
            window=self._window(),
            renormalise=False,
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
            reduce=self.reduction == "sum",
        )
        return -self._reduced(correlation)

    def _window(self) -> list[float]:
        size, reach = self.kernel_size, self.kernel_size // 2
        if self.kernel_type != "triangular":
            return window(self.kernel_type, size)
        inner = size - 2 if size % 4 == 3 and size > 3 else size  # of three voxels MONAI's triangle leaves one
        weights = window("triangular", inner)
        margin = [0.0] * (reach - inner // 2)
        return [*margin, *(weight / sum(weights) for weight in weights), *margin]


class GlobalMutualInformationLoss(MonaiLoss):
    """``monai.losses.GlobalMutualInformationLoss`` over :class:`medloss.GlobalMutualInformationLoss`.

    The b-spline's range is that of each image over the whole batch, as there. In a call by position ``num_bins`` may
    come first, as in the releases without ``kernel_type``. ``"none"`` gives B.
    """

    @earlier_order(int, "gaussian")
    def __init__(
        self,
        kernel_type: str = "gaussian",
        num_bins: int = 23,
        sigma_ratio: float = 0.5,
        reduction: LossReduction | str = "mean",
        smooth_nr: float = 1e-7,
        smooth_dr: float = 1e-7,
    ) -> None:
        super().__init__(reduction)
        checks.at_least("num_bins", num_bins, 1)
        checks.choice("kernel_type", kernel_type, ("gaussian", "b-spline"))
        self._keep(locals())

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        pred, target = floating(pred, "pred"), floating(target, "target")
        checks.same_shape("target", target, pred)
        loss = registration.GlobalMutualInformationLoss(
            kernel_type=self.kernel_type,
            num_bins=self.num_bins,
            sigma_ratio=self.sigma_ratio,
            intensity_range=(0.0, 1.0) if self.kernel_type == "gaussian" else "batch",
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
            reduction="none",
        )
        return self._reduced(loss(*(image.reshape(len(image), 1, -1) for image in (pred, target))))
