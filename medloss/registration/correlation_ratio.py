"""Correlation ratio of two images: how far the intensities of one are a function of those of the other."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss import checks
from medloss.reduction import ratio
from medloss.registration.histograms import HistogramLoss


class CorrelationRatioLoss(HistogramLoss):
    r"""The part of one image's variance that the other image does not explain, from their joint histogram.

    .. math:: L = 1 - \frac{\sum_a p_a (\mu_a - \mu)^2}{\sum_b p_b (b - \mu)^2}, \qquad
        \mu_a = \frac{\sum_b p_{ab} b}{p_a + dr}, \quad \mu = \sum_b p_b b

    with a the bins of the explaining image and b those of the explained one; the histogram is that of
    :class:`~medloss.GlobalMutualInformationLoss`. The voxels of all channels of a sample are counted together.

    Shape: input and target B C [spatial], mask B 1 [spatial]; ``"none"`` gives B.

    Range: [0, 1], 0 where each bin of one image goes with one of the other, 1 for images of one intensity and for
    images unrelated in the mean.

    Limits: for an explaining image of two bins and narrow windows it is one minus the squared correlation.

    Authors' code: the ``CorrRatio`` of Chen's Correlation_Ratio divides by 3, and does not bin the explained image, as
    this does: with ``num_bins=32, sigma_ratio=0.7071`` this loss is three times that one within 1 %.

    Args:
        explained: ``"target"``, whose intensities are to be a function of the input's, or ``"input"``.
        kernel_type: ``"gaussian"``, ``"mattes"`` or ``"b-spline"``; see :class:`~medloss.GlobalMutualInformationLoss`.
        num_bins: bins of each image, at least 2 (splines: 5).
        sigma_ratio: sigma of the Gaussian window, in bins. A window's own width is variance that nothing explains, so
            that even an image and itself cost more than 0 unless the windows are narrow.
        intensity_range: lowest and highest intensity of both images; or ``"image"``, those of each image of each
            sample (under the mask), without a gradient of their own; or ``"batch"``, those of all samples together.
            What lies outside a given range counts as its end and has no gradient;
            :func:`~medloss.check_values` raises there.
        target_range: the same of the target, where it has another.
        smooth_dr: added to the probability of each bin under a mean, above 0.

    Raises:
        ShapeError: images or mask of unlike shapes.
        ValueError: too few bins, an empty range, or an unknown option.

    References:
        [1] Roche et al., The correlation ratio as a new similarity measure for multimodal image registration,
            MICCAI 1998.

    >>> import torch, medloss
    >>> x, y = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]), torch.tensor([[[0.0, 1.0, 1.0, 1.0]]])
    >>> loss = medloss.CorrelationRatioLoss(sigma_ratio=0.1)
    >>> round(loss(x, 1 - x).item(), 4), round(loss(x, y).item(), 4)  # 1 - (1/4)^2 / (3/16)
    (0.0, 0.6667)
    """

    explained: str = "target"
    smooth_dr: float = 1e-7

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("explained", self.explained, ("target", "input"))
        if not self.smooth_dr > 0:
            raise ValueError(f"smooth_dr={self.smooth_dr!r} must be above 0: it guards empty bins")

    def compare(self, joint: Tensor) -> Tensor:
        """1 - variance of the means over variance."""
        joint = joint if self.explained == "target" else joint.transpose(1, 2)
        bins = torch.arange(joint.shape[2], dtype=joint.dtype, device=joint.device)
        column = joint.sum(1)
        apart = bins - (column * bins).sum(1, keepdim=True)  # B bins
        variance = (column * apart**2).sum(1)
        along = (joint * apart.unsqueeze(1)).sum(2)
        return 1 - ratio((along**2 / (joint.sum(2) + self.smooth_dr)).sum(1), variance)
