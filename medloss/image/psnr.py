"""Peak signal-to-noise ratio as a loss."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss import checks
from medloss.base import ImageLoss
from medloss.image.residual import above_zero
from medloss.ops import pointwise
from medloss.ops.masking import present
from medloss.reduction import mass, ratio, reduce


class PSNRLoss(ImageLoss):
    r"""Minus the peak signal-to-noise ratio of two images, in decibels.

    .. math:: L = 10 \log_{10} \left( \frac{\mathrm{MSE}}{R^2} + \epsilon \right)

    for each sample, with R the data range and the mean squared error over the voxels and channels of the sample.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B, ``batch`` 1.

    Range: [10 log10 eps, inf), -100 for equal images by default; below 0 where the error is below the range.

    Limits: eps = 0 is the definition, minus infinity (without a useful gradient) for equal images.

    Args:
        data_range: largest possible difference of two intensities: 1 for images in [0, 1].
        eps: added to the relative error, so that equal images are finite.
        batch: one ratio from the mean error of the whole batch. It is no more than the mean of the samples' ratios,
            since a logarithm favours the sample that is already good.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a data range that is not above 0, or a negative eps.

    References:
        [1] Huynh-Thu and Ghanbari, Scope of validity of PSNR in image/video quality assessment, Electronics Letters
        2008.

    >>> import torch, medloss
    >>> loss = medloss.PSNRLoss(data_range=2.0)
    >>> loss(torch.ones(1, 1, 4), torch.full((1, 1, 4), 1.2))  # 10 log10(0.2^2 / 2^2)
    tensor(-20.0000)
    """

    data_range: float = 1.0
    eps: float = 1e-10
    batch: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero("data_range", self.data_range)
        checks.at_least("eps", self.eps, 0)

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        errors = pointwise(input, target, mask, penalty="squared", reduce=True, scale=self.data_range)
        voxels = mass(mask, input.shape, errors)
        axes = (0, 1) if self.batch else (1,)
        total, voxels = errors.sum(axes).view(-1), voxels.sum(axes).view(-1)
        valid = present(voxels)
        relative = torch.where(valid, ratio(total, voxels), torch.ones_like(total))
        return reduce(10 * torch.log10(relative + self.eps), self.reduction, valid)
