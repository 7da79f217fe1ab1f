"""Mutual information of two images: how much the intensities of one tell about those of the other."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss import checks
from medloss.registration.histograms import HistogramLoss


class GlobalMutualInformationLoss(HistogramLoss):
    r"""Minus the mutual information of two images, from their joint histogram.

    .. math:: L = -\sum_{ab} p_{ab} \log \Bigl( \frac{p_{ab} + nr}{p_a p_b + dr} + dr \Bigr), \qquad
        p_{ab} = \frac{\sum_i w_i W_a(x_i) W_b(y_i)}{\sum_i w_i}

    with voxel weights w, and windows W that spread an intensity over the bins around it and sum to one over them.
    The voxels of all channels of a sample are counted together. Natural logarithm.

    Shape: input and target B C [spatial], mask B 1 [spatial]; ``"none"`` gives B.

    Range: [-log(num_bins), 0], 0 for an image of one intensity or independent images (up to the smoothing terms).

    Limits: without smoothing terms it is minus the entropy of the bins where each intensity of one image goes with one
    of the other, and each lies in a bin of its own.

    Args:
        kernel_type: ``"gaussian"`` windows around ``num_bins`` centres, the first and last of which are the ends of the
            range. ``"mattes"``: that of [1], as ITK and ANTs compute it: cubic B-splines for the input (their moving
            image) and boxes for the target (the fixed one), which gets no gradient; two bins on either side are
            padding. ``"b-spline"``: MONAI's reading of it: boxes are around their bins' centres, half a bin away from
            those of ITK, and the highest 1 / (num_bins - 4) of the range counts as one intensity, without a gradient.
        num_bins: bins of each image, at least 2 (splines: 5).
        sigma_ratio: sigma of the Gaussian window, in bins.
        intensity_range: lowest and highest intensity of both images; or ``"image"``, those of each image of each
            sample (under the mask), without a gradient of their own; or ``"batch"``, those of all samples together.
            What lies outside a given range counts as its end and has no gradient;
            :func:`~medloss.check_values` raises there.
        target_range: the same of the target, where it has another.
        smooth_nr: added to the joint probability under the logarithm.
        smooth_dr: added to the product of the marginal ones, and to the quotient; above 0.

    Raises:
        ShapeError: images or mask of unlike shapes.
        ValueError: too few bins, an empty range, or an unknown option.

    Authors' code: ITK's ``MattesMutualInformationImageToImageMetricv4``, which ``ants.image_mutual_information`` calls,
    is equal with ``kernel_type="mattes", intensity_range="image", target_range="image", smooth_nr=0, smooth_dr=1e-15``.
    The Gaussian is DeepReg's with ``smooth_nr=smooth_dr=1e-5``, TransMorph's with ``num_bins=32, sigma_ratio=1,
    smooth_nr=0, smooth_dr=1e-6``, FireANTs' with ``num_bins=32, intensity_range=(1 / 64, 63 / 64)`` but for what lies
    outside. deepali's does not normalise the windows of a voxel: there is no option for it.

    References:
        [1] Mattes et al., PET-CT image registration in the chest using free-form deformations, IEEE TMI 2003.
        [2] Guo, Multi-modal image registration with unsupervised deep learning, MIT 2019, eq. 3.1-3.5.

    >>> import torch, medloss
    >>> x = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])  # two intensities, one bit: log 2
    >>> loss = medloss.GlobalMutualInformationLoss(sigma_ratio=0.1)
    >>> round(loss(x, 1 - x).item(), 4), round(loss(x, torch.tensor([[[0.0, 1.0, 0.0, 1.0]]])).item(), 4)
    (-0.6931, -0.0)
    """

    smooth_nr: float = 1e-7
    smooth_dr: float = 1e-7

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("smooth_nr", self.smooth_nr, 0)
        if not self.smooth_dr > 0:
            raise ValueError(f"smooth_dr={self.smooth_dr!r} must be above 0: it guards empty bins")

    def compare(self, joint: Tensor) -> Tensor:
        """-sum p_ab log((p_ab + nr) / (p_a p_b + dr) + dr)."""
        apart = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
        quotient = (joint + self.smooth_nr) / (apart + self.smooth_dr) + self.smooth_dr
        return -(joint * torch.log(quotient)).sum((1, 2))
