"""Matthews correlation: the correlation between prediction and target, in which the true negatives count too."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.base import RegionLoss
from medloss.ops import Terms
from medloss.sums import RegionSums


class MCCLoss(RegionLoss):
    r"""One minus the Matthews correlation coefficient of prediction and target.

    .. math::
        L = 1 - \frac{TP \cdot TN - FP \cdot FN + nr}{\sqrt{(TP + FP)(TP + FN)(TN + FP)(TN + FN) + dr}}
          = 1 - \frac{V I - S T + nr}{\sqrt{S T (V - S)(V - T) + dr}}

    for each sample and class, with I the overlap, S the sum of the prediction, T that of the target and V the number of
    voxels. It is 0 where there is no error at all, also where the class fills nothing or everything and has no
    correlation; such a class otherwise costs 1 whatever is predicted, and has no gradient (under a softmax: always).
    ``empty="skip"`` leaves out what fills nothing, but not what fills everything, as the background of an empty sample
    does: leave that out with ``include_background=False``. Nothing then teaches a network to predict nothing: use
    ``batch``, in which few classes are absent, or add a Dice or a cross-entropy.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: [0, 2]: 0 where prediction and target are equal, 1 where they are independent, 2 where each is the other's
    complement.

    Limits: unchanged where both prediction and target are replaced by their complement.

    Args:
        smooth_nr: added to the numerator.
        smooth_dr: added to the product under the root. The correlation itself lies in [-1, 1], whatever the smoothing
            and the rounding.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Abhishek and Hamarneh, Matthews correlation coefficient loss for deep convolutional networks: application to
        skin lesion segmentation, ISBI 2021.

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 1.0, 0.0]]])
    >>> medloss.MCCLoss()(input, target)  # one of each kind
    tensor(1.)
    """

    smooth_nr: float = 0.0

    @property
    def needs(self) -> Terms:
        """All four parts of the confusion."""
        return Terms.ERRORS | Terms.NEGATIVES

    def finalise(self, sums: RegionSums) -> Tensor:
        """1 - (V I - S T + nr) / sqrt(S T (V - S) (V - T) + dr)."""
        right, wrong, missed, other = sums.overlap, sums.false_positive, sums.false_negative, sums.true_negative
        covariance = right * other - wrong * missed
        variances = (right + wrong) * (right + missed) * (other + wrong) * (other + missed)
        # kept off 0, where the root has no slope
        scale = (variances + self.smooth_dr).clamp_min(torch.finfo(variances.dtype).tiny).sqrt()
        correlation = (covariance + self.smooth_nr) / scale
        faultless = (wrong == 0) & (missed == 0)
        return torch.where(faultless, torch.zeros_like(correlation), 1 - correlation.clamp(-1, 1))
