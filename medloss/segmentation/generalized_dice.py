"""Generalised Dice: one Dice for all classes of a sample, small ones as heavy as large ones."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss import checks
from medloss.ops.masking import present
from medloss.reduction import small_or_rest
from medloss.segmentation.overlap import SampleLoss
from medloss.sums import RegionSums


class GeneralizedDiceLoss(SampleLoss):
    r"""Dice of all classes together, each weighed by the inverse of its size in the target.

    .. math::
        L = 1 - \frac{2 \sum_c v_c I_c + nr}{\sum_c v_c (S_c + T_c) + dr}, \qquad v_c = 1 / T_c^2

    for each sample, with I the overlap, S the sum of the prediction and T that of the target. A class that the target
    lacks gets the largest weight that one of the others has, and no class any where all are lacking.

    In a sample without any of the classes that count no class has a weight, and nothing costs: with a sigmoid, or
    without the background. Mix it with a cross-entropy there.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B, ``batch`` 1.

    Range: [0, 1] for hard targets, 0 where prediction and target are equal.

    Limits: with ``w_type="uniform"`` and one class it is :class:`~medloss.DiceLoss`.

    Args:
        w_type: weight of a class: ``"square"`` :math:`1 / T^2`, ``"simple"`` :math:`1 / T`, ``"uniform"`` 1.
        weight: one more factor on each class.
        soft_label: overlap as :math:`(S + T - \sum w |p - t|) / 2`, whose minimum is at p = t for soft targets too.
        empty: ``"smooth"`` as above; with ``"skip"`` classes that the target lacks take no part, and a sample without
            any leaves the mean.
        normalize: scale the weights so that they leave :math:`\sum_c T_c` as it is, so that the smoothing is told in
            voxels, as in :class:`~medloss.DiceLoss`. Without it ``"square"`` leaves a denominator of about twice the
            sum of 1 / T, beside which the default smoothing is not small for regions of 100 000 voxels and more: two
            halves of 128 x 128 x 128 voxels at a loss of 0.50 read 0.14, as in MONAI.
        smooth_nr: added to the numerator.
        smooth_dr: added to the denominator.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: an unknown w_type, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Sudre et al., Generalised Dice overlap as a deep learning loss function, DLMIA 2017, section 2.

    >>> import torch, medloss
    >>> input = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]]])
    >>> target = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]])
    >>> medloss.GeneralizedDiceLoss(smooth_nr=0, smooth_dr=0)(input, target)  # 1 - 2 (1 + 2) / (3 + 5)
    tensor(0.2500)
    """

    w_type: str = "square"
    normalize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("w_type", self.w_type, ("square", "simple", "uniform"))

    def combine(self, sums: RegionSums, factors: Tensor) -> Tensor:
        """1 - (2 sum v I + nr) / (sum v (S + T) + dr)."""
        weights = factors * self._sizes(sums.target, factors)
        if self.normalize:
            kept = (weights * sums.target).sum(1, keepdim=True)
            some = present(kept)
            scale = sums.target.sum(1, keepdim=True) / torch.where(some, kept, torch.ones_like(kept))
            weights = weights * torch.where(some, scale, torch.ones_like(scale))
        if not self._bends:
            overlap = (weights * self.overlap(sums)).sum(1)
            total = (weights * (sums.input + sums.target)).sum(1)
            return 1 - (2 * overlap + self.smooth_nr) / (total + self.smooth_dr)
        overlap, false_positive, false_negative = self.errors(sums)
        twice = 2 * (weights * overlap).sum(1)
        wrong = (weights * (false_positive + false_negative)).sum(1)
        smooth = self.smooth_dr - self.smooth_nr
        return small_or_rest(wrong + smooth, twice + self.smooth_nr, twice + wrong + self.smooth_dr)

    def _sizes(self, target: Tensor, factors: Tensor) -> Tensor:
        """The weight of each class by its size; of the classes that the target lacks, the largest of the others."""
        if self.w_type == "uniform":
            return torch.ones_like(target)
        size = target * target if self.w_type == "square" else target
        some = present(size) & (factors > 0)
        weights = torch.where(some, 1 / torch.where(some, size, torch.ones_like(size)), torch.zeros_like(size))
        return torch.where(some, weights, weights.amax(1, keepdim=True))


class PenaltyGeneralizedDiceLoss(GeneralizedDiceLoss):
    r"""Generalised Dice whose errors count a second time, k-fold, beside both regions.

    .. math::
        L = 1 - \frac{G}{1 + k (1 - G)} = \frac{(1 + k) L_{GD}}{1 + k L_{GD}}, \qquad G = 1 - L_{GD}

    for each sample: the errors FP + FN enter the denominator of the generalised Dice coefficient G once more, times k.

    In a sample without any of the classes that count nothing costs, as in :class:`~medloss.GeneralizedDiceLoss`. Mix it
    with a cross-entropy there.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B, ``batch`` 1.

    Range: [0, 1] for hard targets.

    Limits: k = 0 is :class:`~medloss.GeneralizedDiceLoss`; k = 1 with one class is Jaccard.

    Authors' code: that of SegLoss takes -G for 1 - G, with the generalised Dice G, and so penalises a good one; here it
    is the paper's.

    Args:
        k: weight of the penalty, at least 0.
        w_type, weight, soft_label, empty, smooth_nr, smooth_dr: see :class:`~medloss.GeneralizedDiceLoss`.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a negative k, or the faults of :class:`~medloss.GeneralizedDiceLoss`.

    References:
        [1] Yang et al., Major vessel segmentation on X-ray coronary angiography using deep networks with a novel
        penalty loss function, MIDL 2019.

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
    >>> medloss.PenaltyGeneralizedDiceLoss(smooth_nr=0, smooth_dr=0)(input, target)  # 3.5 / 2 / (1 + 2.5 / 2)
    tensor(0.7778)
    """

    k: float = 2.5

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("k", self.k, 0)

    @property
    def _bends(self) -> bool:
        return True

    def combine(self, sums: RegionSums, factors: Tensor) -> Tensor:
        """(1 + k) L / (1 + k L) of the generalised Dice loss L."""
        loss = super().combine(sums, factors)
        return (1 + self.k) * loss / (1 + self.k * loss)
