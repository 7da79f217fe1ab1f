"""Boundary difference over union: an overlap loss that looks away from the inside of large regions."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.base import RegionLoss
from medloss.labels import LabelView
from medloss.ops import Terms
from medloss.ops.masking import accumulation_dtype, blank, membership, spatial_axes, voxel_weight
from medloss.reduction import small_or_rest
from medloss.sums import RegionSums


class BoundaryDoULoss(RegionLoss):
    r"""What is wrong, over the union less a share of the overlap that grows with the target's size.

    .. math::
        L = \frac{D - 2 I + nr}{D - (1 + \alpha) I + dr}, \qquad
        \alpha = \min\left(\max\left(1 - \frac{2 C}{T}, \alpha_{min}\right), \alpha_{max}\right)

    for each sample and class, with overlap I, :math:`D = \sum w p^2 + \sum w t^2`, the size T of the target and that of
    its boundary C: its voxels with a neighbour along an axis that is outside, or beyond the border. So the overlap in
    the inside of a large region hardly hides the errors at its boundary.

    A class that the target lacks costs 1 whatever is predicted, without a gradient. Mix it with a cross-entropy, or sum
    over the batch.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    The paper has alpha in [0, 1). The authors' code cuts it off above alone: where more than half of a region is
    boundary its alpha is negative, down to -1, and the loss goes from Jaccard's towards that of Dice. That is
    ``alpha_min=-1``, with ``batch=True, smooth_nr=smooth_dr=1e-5``.

    Range: [0, 1], 0 where prediction and target are equal (but for the smoothing).

    Limits: a target that is all boundary has alpha = 0, and the loss is :class:`~medloss.DiceLoss` with
    ``squared_pred`` and ``jaccard`` but for the smoothing.

    Args:
        alpha_min: the least that alpha may be, from -1 to 0; -1 is no bound.
        alpha_max: the most that alpha may be, from 0 to below 1; the authors recommend 0.8.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: alpha_min outside -1 to 0, alpha_max outside 0 to 1, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Sun et al., Boundary difference over union loss for medical image segmentation, MICCAI 2023.

    >>> import torch, medloss
    >>> target, shifted = torch.zeros(1, 1, 12), torch.zeros(1, 1, 12)
    >>> target[..., 1:9], shifted[..., 2:10] = 1, 1
    >>> medloss.BoundaryDoULoss()(shifted, target)  # alpha = 1 - 2 * 2 / 8, 2 / (16 - 1.5 * 7)
    tensor(0.3636)
    """

    alpha_min: float = 0.0
    alpha_max: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -1 <= self.alpha_min <= 0:
            raise ValueError(f"alpha_min={self.alpha_min!r} must be from -1 to 0: alpha is never below -1")
        if not 0 <= self.alpha_max < 1:
            raise ValueError(f"alpha_max={self.alpha_max!r} must be from 0 to below 1: at 1 a region's inside is free")

    @property
    def needs(self) -> Terms:
        """The squares."""
        return Terms.SQUARES

    def evaluate(self, view: LabelView, sums: RegionSums) -> Tensor:
        """As every region loss, with the size of the boundary as one more column of the sums."""
        boundary = boundary_size(view).to(sums.columns.dtype).unsqueeze(-1)
        return super().evaluate(view, RegionSums(torch.cat([sums.columns, boundary], -1)))

    def finalise(self, sums: RegionSums) -> Tensor:
        """(D - 2 I + nr) / (D - (1 + alpha) I + dr)."""
        boundary = sums.columns[..., -1]
        share = boundary / sums.target.clamp_min(torch.finfo(boundary.dtype).tiny)
        alpha = (1 - 2 * share).clamp(self.alpha_min, self.alpha_max)
        wrong, squares = sums.squared_error, sums.input_squares + sums.target_squares  # wrong is D - 2 I
        right = (1 - alpha) * sums.overlap + (self.smooth_dr - self.smooth_nr)
        union = ((1 - alpha) * squares + (1 + alpha) * wrong) / 2
        return small_or_rest(wrong + self.smooth_nr, right, union + self.smooth_dr)


def boundary_size(view: LabelView) -> Tensor:
    """How much of each class of the target has a neighbour outside, B N."""
    dtype = accumulation_dtype(view.input)
    weight = voxel_weight(view.target, view.mask, view.indexed, view.ignore_index, dtype)
    target = blank(membership(view.target, view.input.shape[1], view.indexed, dtype), weight)
    inside = target
    for axis in spatial_axes(target):
        padded = torch.nn.functional.pad(target, [0, 0] * (target.ndim - axis - 1) + [1, 1])
        for start in (0, 2):
            inside = torch.minimum(inside, padded.narrow(axis, start, target.shape[axis]))
    boundary = target - inside
    return (boundary if weight is None else boundary * weight).sum(spatial_axes(target))
