"""Local normalised cross-correlation (LNCC): how well two images correlate around each voxel."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medloss import checks
from medloss.base import ImageLoss
from medloss.ops import local_correlation, local_moments
from medloss.reduction import voxel_mean
from medloss.registration.windows import KINDS, window


class LocalNormalizedCrossCorrelationLoss(ImageLoss):
    r"""Minus the correlation of two images in the window around each voxel, squared or with its sign (LNCC).

    .. math::
        L = -\frac{1}{\sum_i w_i} \sum_i w_i \frac{A_i^2 + nr}{\max(B_i, dr) \max(C_i, dr)}

    with window weights k around i, :math:`V = \sum k w`, :math:`A = \sum k w x y - \sum k w x \sum k w y / V`, and
    B, C likewise for xx and yy. A constant window correlates with nothing and counts 0. With ``signed`` the fraction is
    :math:`A_i / \sqrt{\max(B_i, dr) \max(C_i, dr)}`.

    Shape: input and target B C [spatial], mask B 1 [spatial]; ``"none"`` gives B C [spatial].

    Range: [-1, 0], -1 where each window of one image is a linear function of the other's (up to rounding, and
    to ``smooth_nr``). With ``signed`` [-1, 1], -1 where these functions rise and 1 where they fall.

    Authors' code: VoxelMorph's (PyTorch), TransMorph's and CycleMorph's are equal by default. ITK's and ANTs' with
    ``border="renormalise"`` and a ``kernel_size`` of twice the radius plus 1. ICON's and uniGradICON's ``1 - LNCC`` is
    this loss plus 1 with ``kernel_type="gaussian", sigma=5, kernel_size=21, signed=True``, but for their 1e-5 on both
    variances. No option: VoxelMorph's TensorFlow code, in which a window of inverted contrast counts 0; deepali's, in
    which each voxel is centred by its own window; FireANTs' 1e-5 on mean variances, which is large for images in [0,
    1].

    Args:
        kernel_size: odd length of the window along each axis, in voxels.
        kernel_type: ``"rectangular"``, ``"triangular"`` or ``"gaussian"``.
        sigma: width of the Gaussian, in voxels; ``kernel_size / 3`` without it. The Gaussian ends where the window
            does: a ``kernel_size`` of 4 sigma + 1 reaches 2 sigma.
        border: ``"zero"``: windows at the border see zeros beyond it, as in VoxelMorph and MONAI: both images fall to 0
            there, which correlates. Two unrelated volumes of 48 voxels along each axis cost about -0.3 in place of 0.
            ``"renormalise"``: they count the voxels that they hold, as in ITK and ANTs. Under a mask it is always the
            latter, and only valid voxels enter a window.
        signed: the correlation itself in place of its square: windows must be alike, and not only in inverted contrast.
        smooth_nr: added to the numerator of the square.
        smooth_dr: least value of each variance (times V).

    Raises:
        ShapeError: images or mask of unlike shapes.
        ValueError: an even kernel, an unknown option, a sigma that is not above 0 or of another window than a Gaussian,
            or ``smooth_nr`` with ``signed``.

    References:
        [1] Avants et al., Symmetric diffeomorphic image registration with cross-correlation, MedIA 2008, section 2
        (its border is ``"renormalise"``). [2] Balakrishnan et al., VoxelMorph, IEEE TMI 2019, eq. 6 (the default).

    >>> import torch, medloss
    >>> x = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    >>> loss = medloss.LocalNormalizedCrossCorrelationLoss(border="renormalise")
    >>> round(loss(x, 3 - 2 * x).item(), 4)
    -1.0
    """

    kernel_size: int = 9
    kernel_type: str = "rectangular"
    sigma: float | None = None
    border: str = "zero"
    signed: bool = False
    smooth_nr: float = 0.0
    smooth_dr: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("kernel_type", self.kernel_type, KINDS)
        checks.choice("border", self.border, ("zero", "renormalise"))
        if not isinstance(self.kernel_size, int) or self.kernel_size < 3 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={self.kernel_size!r} must be an odd number of voxels, at least 3")
        if self.sigma is not None and not (0 < self.sigma < float("inf") and self.kernel_type == "gaussian"):
            raise ValueError(f"sigma={self.sigma!r} must be above 0 and is of kernel_type='gaussian' alone")
        checks.at_least("smooth_nr", self.smooth_nr, 0)
        if self.signed and self.smooth_nr:
            raise ValueError(f"smooth_nr={self.smooth_nr!r} is added to squares, and signed=True has none")
        if not self.smooth_dr > 0:
            raise ValueError(f"smooth_dr={self.smooth_dr!r} must be above 0: it guards constant windows")

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        options: dict[str, Any] = {
            "window": window(self.kernel_type, self.kernel_size, self.sigma),
            "renormalise": self.border == "renormalise",
            "smooth_dr": self.smooth_dr,
            "reduce": self.reduction != "none",
        }
        if self.signed:
            correlation = local_correlation(input, target, mask, **options)
        else:
            correlation = local_moments(input, target, mask, smooth_nr=self.smooth_nr, **options)
        return voxel_mean(-correlation, mask, input.shape, self.reduction)
