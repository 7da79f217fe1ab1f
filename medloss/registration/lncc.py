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

    Args:
        kernel_size: odd length of the window along each axis, in voxels.
        kernel_type: ``"rectangular"``, ``"triangular"`` or ``"gaussian"`` (sigma = size / 3).
        border: ``"zero"``: windows at the border see zeros beyond it, as in the peers. ``"renormalise"``: they count
            the voxels that they hold. Under a mask it is always the latter, and only valid voxels enter a window.
        signed: the correlation itself in place of its square: windows must be alike, and not only in inverted contrast.
        smooth_nr: added to the numerator of the square.
        smooth_dr: least value of each variance (times V).

    Raises:
        ShapeError: images or mask of unlike shapes.
        ValueError: an even kernel, an unknown option, or ``smooth_nr`` with ``signed``.

    References:
        [1] Avants et al., Symmetric diffeomorphic image registration with cross-correlation, MedIA 2008, section 2.
        [2] Balakrishnan et al., VoxelMorph, IEEE TMI 2019, eq. 6.

    >>> import torch, medloss
    >>> x = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    >>> loss = medloss.LocalNormalizedCrossCorrelationLoss(border="renormalise")
    >>> round(loss(x, 3 - 2 * x).item(), 4)
    -1.0
    """

    kernel_size: int = 9
    kernel_type: str = "rectangular"
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
        checks.at_least("smooth_nr", self.smooth_nr, 0)
        if self.signed and self.smooth_nr:
            raise ValueError(f"smooth_nr={self.smooth_nr!r} is added to squares, and signed=True has none")
        if not self.smooth_dr > 0:
            raise ValueError(f"smooth_dr={self.smooth_dr!r} must be above 0: it guards constant windows")

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        options: dict[str, Any] = {
            "window": window(self.kernel_type, self.kernel_size),
            "renormalise": self.border == "renormalise",
            "smooth_dr": self.smooth_dr,
            "reduce": self.reduction != "none",
        }
        if self.signed:
            correlation = local_correlation(input, target, mask, **options)
        else:
            correlation = local_moments(input, target, mask, smooth_nr=self.smooth_nr, **options)
        return voxel_mean(-correlation, mask, input.shape, self.reduction)
