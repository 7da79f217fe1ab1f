"""Dice: twice the overlap over the sum of both regions."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import Terms
from medloss.reduction import small_or_rest
from medloss.segmentation.overlap import OverlapLoss
from medloss.sums import RegionSums


class DiceLoss(OverlapLoss):
    r"""Soft Dice: one minus twice the overlap over the sum of both regions.

    .. math::
        L = 1 - \frac{2 I + nr}{S + T + dr}, \qquad
        I = \sum_i w_i p_i t_i, \quad S = \sum_i w_i p_i, \quad T = \sum_i w_i t_i

    for each sample and class, with prediction p, membership t and voxel weight w. With ``squared_pred`` the denominator
    is :math:`\sum w p^2 + \sum w t^2`. With ``jaccard`` the loss is
    :math:`1 - (2 I + nr) / (2 (D - I) + dr)` for a denominator D (twice intersection over twice union).

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: [0, 1] for hard targets, 0 where prediction and target are equal.

    Limits: equals :class:`~medloss.TverskyLoss` at alpha = beta = 1/2 but for the smoothing, which counts twice there.

    Args:
        squared_pred: squares in the denominator.
        jaccard: intersection over union in place of Dice.
        soft_label: overlap as :math:`(S + T - \sum w |p - t|) / 2`, whose minimum is at p = t for soft targets too.
            With ``squared_pred`` the product form has that minimum already and stands.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: more than one activation, or an option that makes no sense for one channel.

    References:
        [1] Milletari et al., V-Net, 3DV 2016, section 3. [2] Drozdzal et al., 2016 (linear denominator).
        [3] Rahman and Wang, ISVC 2016 (Jaccard). [4] Wang et al., Dice semimetric losses, MICCAI 2023 (soft labels).

    >>> import torch, medloss
    >>> target = torch.tensor([[[0, 1, 1, 0]]])
    >>> logits = torch.tensor([[[9.0, -9.0, -9.0, 9.0], [-9.0, 9.0, 9.0, -9.0]]])
    >>> medloss.DiceLoss(softmax=True, to_onehot_y=True)(logits, target).item() < 1e-6
    True
    """

    squared_pred: bool = False
    jaccard: bool = False

    @property
    def needs(self) -> Terms:
        """Squares or absolute differences, where the options ask for them."""
        return Terms.SQUARES if self.squared_pred else self._of_errors()

    def finalise(self, sums: RegionSums) -> Tensor:
        """1 - (2 I + nr) / (D + dr)."""
        if self.squared_pred or self._bends:
            twice, total, wrong = self._parts(sums)
            wrong = wrong + (self.smooth_dr - self.smooth_nr)
            return small_or_rest(wrong, twice + self.smooth_nr, total + self.smooth_dr)
        overlap, total = self.overlap(sums), sums.input + sums.target
        if self.jaccard:
            total = 2 * (total - overlap)
        return 1 - (2 * overlap + self.smooth_nr) / (total + self.smooth_dr)

    def _parts(self, sums: RegionSums) -> tuple[Tensor, Tensor, Tensor]:
        """The numerator, the denominator, and their difference as a sum of what is small where all is right."""
        if self.squared_pred:
            twice, wrong = 2 * sums.overlap, sums.squared_error
            total = sums.input_squares + sums.target_squares
        else:
            overlap, false_positive, false_negative = self.errors(sums)
            twice, wrong = 2 * overlap, false_positive + false_negative
            total = twice + wrong
        return (twice, total + wrong, 2 * wrong) if self.jaccard else (twice, total, wrong)


class JaccardLoss(OverlapLoss):
    r"""Soft Jaccard: one minus the intersection of both regions over their union.

    .. math:: L = 1 - \frac{I + nr}{S + T - I + dr}

    for each sample and class, with I the overlap, S the sum of the prediction and T that of the target.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: [0, 1] for hard targets, 0 where prediction and target are equal.

    Limits: equals :class:`~medloss.TverskyLoss` at alpha = beta = 1; of the Dice loss D it is 2 D / (1 + D).

    Args:
        soft_label: overlap as :math:`(S + T - \sum w |p - t|) / 2`, whose minimum is at p = t for soft targets too (the
            Jaccard metric loss of [2]).

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Rahman and Wang, Optimizing intersection-over-union in deep neural networks for image segmentation, ISVC
        2016. [2] Wang et al., Jaccard metric losses: optimizing the Jaccard index with soft labels, NeurIPS 2023.

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
    >>> medloss.JaccardLoss(smooth_nr=0, smooth_dr=0)(input, target)  # 1 - 1 / 3
    tensor(0.6667)
    """

    def finalise(self, sums: RegionSums) -> Tensor:
        """1 - (I + nr) / (S + T - I + dr)."""
        overlap = self.overlap(sums)
        return 1 - (overlap + self.smooth_nr) / (sums.input + sums.target - overlap + self.smooth_dr)


class LogCoshDiceLoss(DiceLoss):
    r"""Logarithm of the hyperbolic cosine of the Dice loss, which is flat where the Dice loss is small.

    .. math:: L = \log \cosh L_{Dice}

    for each sample and class, before the mean over them.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: [0, log cosh 1] = [0, 0.434] for hard targets.

    Limits: half the square of :class:`~medloss.DiceLoss` where that is small.

    Args:
        squared_pred, jaccard, soft_label: see :class:`~medloss.DiceLoss`.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Jadon, A survey of loss functions for semantic segmentation, CIBCB 2020, section III.

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
    >>> medloss.LogCoshDiceLoss(smooth_nr=0, smooth_dr=0)(input, target)  # log cosh(1 / 2)
    tensor(0.1201)
    """

    @property
    def _bends(self) -> bool:
        return True

    def finalise(self, sums: RegionSums) -> Tensor:
        """log cosh L, as log(1 + 2 sinh^2(L / 2)), which keeps its digits where L is small."""
        return torch.log1p(2 * torch.sinh(super().finalise(sums) / 2).square())


class MaskedDiceLoss(DiceLoss):
    r"""Dice of the voxels under a mask: :class:`DiceLoss`, whose call takes a mask as every loss here does.

    .. math:: L(x, y, \text{mask}) = \text{Dice}(x[\text{mask}], y[\text{mask}])

    The mask takes voxels out of the sums; it does not turn them into background, as multiplying input and target by it
    would. The name stands for those who look for it.

    Shape, range, options, errors: see :class:`DiceLoss`.

    References: as :class:`DiceLoss`.

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[1.0, 0.0, 0.3]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
    >>> mask = torch.tensor([[[True, True, False]]])
    >>> medloss.MaskedDiceLoss()(input, target, mask)
    tensor(0.)
    """
