"""Normalised mutual information of two images, which does not grow with the overlap or with the noise of either."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.reduction import ratio
from medloss.registration.histograms import HistogramLoss


class NormalizedMutualInformationLoss(HistogramLoss):
    r"""Two minus the normalised mutual information of two images, from their joint histogram.

    .. math:: L = 2 - \frac{H_x + H_y}{H_{xy}} = 1 - \frac{H_x + H_y - H_{xy}}{H_{xy}}, \qquad
        H = -\sum p \log (p + dr)

    with the entropies of the bins of each image and of their pairs; the histogram is that of
    :class:`~medloss.GlobalMutualInformationLoss`. The voxels of all channels of a sample are counted together.

    Shape: input and target B C [spatial], mask B 1 [spatial]; ``"none"`` gives B.

    Range: [0, 1] up to ``smooth_dr``; 0 where the bin of one image tells that of the other and the other way round, 1
    for independent images and for images of one intensity.

    Limits: minus Studholme's normalised mutual information, which kornia's loss returns, is this loss minus two.

    Authors' code: scikit-image's ``normalized_mutual_information`` of n bins is 2 minus this loss with ``num_bins=n,
    sigma_ratio=0.02`` and an ``intensity_range`` that is half a bin shorter at both ends. ITK has none. deepali's does
    not normalise the windows of a voxel: there is no option for it.

    Args:
        kernel_type: ``"gaussian"``, ``"mattes"`` or ``"b-spline"``; see :class:`~medloss.GlobalMutualInformationLoss`.
        num_bins: bins of each image, at least 2 (splines: 5).
        sigma_ratio: sigma of the Gaussian window, in bins. An image's windows overlap, so that even an image and
            itself cost more than 0 unless the windows are narrow.
        intensity_range: lowest and highest intensity of both images; or ``"image"``, those of each image of each
            sample (under the mask), without a gradient of their own; or ``"batch"``, those of all samples together.
            What lies outside a given range counts as its end and has no gradient;
            :func:`~medloss.check_values` raises there.
        target_range: the same of the target, where it has another.
        smooth_dr: added to each probability under the logarithm, above 0.

    Raises:
        ShapeError: images or mask of unlike shapes.
        ValueError: too few bins, an empty range, or an unknown option.

    References:
        [1] Studholme et al., An overlap invariant entropy measure of 3D medical image alignment, Pattern Recognition
            1999.

    >>> import torch, medloss
    >>> x = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    >>> loss = medloss.NormalizedMutualInformationLoss(sigma_ratio=0.1)
    >>> round(loss(x, 1 - x).item(), 4), round(loss(x, torch.tensor([[[0.0, 1.0, 0.0, 1.0]]])).item(), 4)
    (0.0, 1.0)
    """

    smooth_dr: float = 1e-7

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.smooth_dr > 0:
            raise ValueError(f"smooth_dr={self.smooth_dr!r} must be above 0: it guards empty bins")

    def compare(self, joint: Tensor) -> Tensor:
        """1 - (H_x + H_y - H_xy) / H_xy."""
        rows, columns = joint.sum(2), joint.sum(1)
        both = self._entropy(joint.flatten(1))
        return 1 - ratio(self._entropy(rows) + self._entropy(columns) - both, both)

    def _entropy(self, probabilities: Tensor) -> Tensor:
        return -(probabilities * torch.log(probabilities + self.smooth_dr)).sum(1)
