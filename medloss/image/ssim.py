"""Structural similarity (SSIM): whether two images look alike in the window around each voxel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from medloss import checks
from medloss.base import ImageLoss
from medloss.image.residual import above_zero
from medloss.image.windows import KINDS, check_window, map_shape, per_axis, window
from medloss.ops import local_ssim
from medloss.reduction import voxel_mean


class StructuralLoss(ImageLoss):
    """What the losses of structural similarity in one kind of window share.

    Args:
        window: ``"gaussian"`` or ``"uniform"``.
        window_size: odd length of the window, in voxels; one for all axes, or one per axis.
        sigma: standard deviation of the Gaussian, in voxels; one for all axes, or one per axis.
        data_range: largest possible difference of two intensities: 1 for images in [0, 1].
        k1: the constant of luminance, as a part of the data range, at least 0.
        k2: the constant of structure, as a part of the data range, at least 0.
        border: what windows see at the border.
    """

    window: str = "gaussian"
    window_size: Sequence[int] | int = 11
    sigma: Sequence[float] | float = 1.5
    data_range: float = 1.0
    k1: float = 0.01
    k2: float = 0.03
    border: str = "valid"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("window", self.window, KINDS)
        check_window(self.window_size, self.sigma)
        above_zero("data_range", self.data_range)
        checks.at_least("k1", self.k1, 0)
        checks.at_least("k2", self.k2, 0)
        checks.choice("border", self.border, ("valid", "zero", "reflect", "renormalise"))

    def _window(self, rank: int) -> list[list[float]]:
        """The weights along each axis."""
        sizes, sigmas = per_axis("window_size", self.window_size, rank), per_axis("sigma", self.sigma, rank)
        return [window(self.window, int(size), sigma) for size, sigma in zip(sizes, sigmas, strict=True)]

    @property
    def _constants(self) -> dict[str, Any]:
        return {"c1": (self.k1 * self.data_range) ** 2, "c2": (self.k2 * self.data_range) ** 2}


class SSIMLoss(StructuralLoss):
    r"""One minus the structural similarity of two images, averaged over windows.

    .. math::
        L = 1 - \frac{1}{\sum_i w_i} \sum_i w_i \frac{(2 \mu_x \mu_y + c_1)(2 \sigma_{xy} + c_2)}
        {(\mu_x^2 + \mu_y^2 + c_1)(\sigma_x^2 + \sigma_y^2 + c_2)}, \qquad c_k = (k_k R)^2

    with means, variances and covariance of the voxels in the window around i, and the data range R. The mean of each
    image is taken off before anything is squared, so that an offset costs no digits.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C [spatial], or with
    ``border="valid"`` (and no mask) B C and the positions of whole windows.

    Range: [0, 2], [0, 1] for ``convention="half"``; 0 where the images are equal.

    Limits: ``convention="half"`` is half of ``"one_minus"``. ``MultiScaleSSIMLoss(scale_weights=[1])`` is the loss of
    each sample and channel, where its similarity is not negative.

    Authors' code: that of the paper, scikit-image (``gaussian_weights=True, use_sample_covariance=False``), piq and
    pytorch-msssim are equal by default; TransMorph's ``SSIM3D`` with ``border="zero"``.

    Args:
        window: ``"gaussian"`` or ``"uniform"``.
        window_size: odd length of the window, in voxels; one for all axes, or one per axis, as volumes of thick slices
            want it.
        sigma: standard deviation of the Gaussian, in voxels; one for all axes, or one per axis.
        data_range: largest possible difference of two intensities: 1 for images in [0, 1].
        k1: the constant of luminance, as a part of the data range, at least 0.
        k2: the constant of structure, as a part of the data range, at least 0.
        border: ``"valid"``: only windows inside the image, as in the paper and MONAI. ``"reflect"``: the image is
            mirrored at its border, as in kornia. ``"zero"``: windows see zeros beyond it, which look alike in both
            images, as in TransMorph. ``"renormalise"``: windows count the voxels that they hold. Under a mask it is
            always the last one, and only valid voxels enter a window.
        convention: ``"one_minus"`` is 1 - SSIM, as in MONAI; ``"half"`` is (1 - SSIM) / 2, as in kornia.

    Raises:
        ShapeError: images or mask of unlike shapes, or too few voxels for the window.
        ValueError: an even window, or an unknown option.

    References:
        [1] Wang et al., Image quality assessment: from error visibility to structural similarity, IEEE TIP 2004,
        eq. 13.

    >>> import torch, medloss
    >>> x = torch.rand(1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    >>> loss = medloss.SSIMLoss(window_size=7)
    >>> loss(x, x)
    tensor(0.)
    >>> round(loss(0 * x, 0 * x + 0.1).item(), 4)  # no structure: 1 - c1 / (0.1^2 + c1)
    0.9901
    """

    convention: str = "one_minus"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("convention", self.convention, ("one_minus", "half"))

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        weights = self._window(input.ndim - 2)
        shape = map_shape(input.shape, [len(axis) for axis in weights], self.border, mask)
        whole = self.reduction == "none"
        values = local_ssim(
            input, target, mask, windows=[weights], border=self.border, reduce=not whole, **self._constants
        )
        values = values if whole else voxel_mean(values, mask, shape, self.reduction)
        return values / 2 if self.convention == "half" else values
